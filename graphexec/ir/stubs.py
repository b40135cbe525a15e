"""Writes the signatures of the built-in ops for editors and type checkers: `python -m graphexec.ir.stubs`.

`_builtin_ops.pyi` has a method for each op that ships with graphexec; type checkers use it as the type of `ops`. Plugin ops
have no stub: write `ops["name"]` for those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphexec.ir.attributes import REQUIRED
from graphexec.ir.op import Op
from graphexec.ir.registry import registry

PATH = Path(__file__).with_name("_builtin_ops.pyi")
PACKAGE = "graphexec_ops"
LINE_LENGTH = 132
HEADER = '''"""The built-in ops and their signatures. Written by `python -m graphexec.ir.stubs`: do not edit it."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from numpy.typing import ArrayLike, DTypeLike

from graphexec.ir.operators import Arithmetic

Operand: TypeAlias = Arithmetic | ArrayLike | None  # None omits an optional operand

class BuiltinOps:
'''


def stub_text() -> str:
    """Generates the content of the stub file from the registry."""
    ops = [registry.get(name) for name in registry.names()]
    built_in = [op for op in ops if op.function.__module__.partition(".")[0] == PACKAGE]
    return HEADER + "\n".join(_method(op) for op in built_in)


def _method(op: Op) -> str:
    parameters = ["self", *_operands(op), *_attributes(op), "name: str | None = None"]
    result = "Any" if len(op.outputs) == 1 else f"tuple[{', '.join(['Any'] * len(op.outputs))}]"
    line = f"    def {op.name}({', '.join(parameters)}) -> {result}:"
    if len(line) > LINE_LENGTH:
        line = "\n".join([f"    def {op.name}(", *(f"        {p}," for p in parameters), f"    ) -> {result}:"])
    return f'{line}\n        """{_summary(op)}"""\n'


def _operands(op: Op) -> list[str]:
    """The operands, with the star that separates them from attributes."""
    if op.variadic:
        return [f"*{op.inputs[0]}: Operand"]
    return [f"{p}: Operand = None" if p in op.optional else f"{p}: Operand" for p in op.inputs] + ["*"]


def _attributes(op: Op) -> list[str]:
    """The attributes, with and without defaults: keyword-only parameters may come in any order."""
    return [_attribute(key, default, op.attribute_types[key].stub) for key, default in op.attributes.items()]


def _attribute(key: str, default: Any, stub: str) -> str:
    if default is REQUIRED:
        return f"{key}: {stub}"
    if type(default) is float and default in (float("inf"), float("-inf")):
        return f"{key}: {stub} = ..."
    return f"{key}: {stub} = {default!r}"


def _summary(op: Op) -> str:
    first = op.doc.partition("\n")[0].replace("\\", r"\\").replace('"', "'")
    return first[: LINE_LENGTH - 16].rstrip()


if __name__ == "__main__":
    PATH.write_text(stub_text(), encoding="utf-8")
