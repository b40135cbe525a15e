"""Checks declarations, and refuses one with a PluginError that has the op, its file and line, and the nearest name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, NoReturn

from graphexec.errors import PluginError, did_you_mean
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import GemmTrait, Op
from graphexec.ir.spec import DTYPES

Function = Callable[..., Any]

RENAMED_OPTIONS = {"shared": "parallel", "like": "shape_only", "waits": "ordered_after"}
"""Names of options from before the first release, and the current ones."""


def refuse(
    op: Op, what: str, word: str | None = None, allowed: Iterable[str] = (), todo: str = "Correct the declaration."
) -> NoReturn:
    """*Raises* PluginError; ``word`` is the wrong name, and ``allowed`` has the right ones."""
    allowed = tuple(allowed)
    facts = [f"allowed names: {', '.join(allowed)}"] if allowed else []
    hint = did_you_mean(word, allowed) if word else ""
    raise PluginError(what, op=op.name, source=op.file or None, facts=facts, todo=hint or todo)


def refuse_unless(op: Op, sound: bool, what: str, todo: str = "Correct the declaration.") -> None:
    """*Raises* PluginError if a declaration is not ``sound``."""
    if not sound:
        refuse(op, what, todo=todo)


def refuse_unknown_options(op: Op, options: Iterable[str], allowed: Iterable[str]) -> None:
    """*Raises* PluginError for an unknown option; if the name is an old one, the error gives the new one."""
    allowed = tuple(allowed)
    for option in options:
        if option in allowed:
            continue
        new = RENAMED_OPTIONS.get(option)
        if new in allowed:
            refuse(op, f"the option {option}= is now called {new}=", todo=f"Write {new}= in place of {option}=.")
        refuse(op, f"unknown option {option!r}", option, allowed)


def place(function: Function) -> str:
    """The file and line of a function; ``""`` if it has no source."""
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


def check(op: Op) -> None:
    """*Raises* PluginError when the names, dtypes or traits of a declaration are inconsistent."""
    _check_parameters(op)
    _check_names(op, "types", op.types, (*op.inputs, *op.outputs))
    for dtype in op.types.values():
        if dtype not in DTYPES:
            refuse(op, f"types gives {dtype!r}", dtype, list(DTYPES))
    _check_names(op, "updates", op.updates, op.inputs)
    if isinstance(op, KernelOp):
        _check_names(op, "strided", op.strided, op.inputs)
        _check_names(op, "rows", () if callable(op.rows) else op.rows, op.inputs)
    refuse_unless(op, bool(op.inputs), "it has no operand")
    refuse_unless(op, not set(op.kinds) - set("fib"), f"kinds={op.kinds!r} may contain only 'f', 'i' and 'b'")
    _check_examples(op)
    _check_operand_traits(op)
    _check_variadic_traits(op)
    if op.gemm is not None:
        _check_gemm(op, op.gemm)


def _check_parameters(op: Op) -> None:
    names = [*op.inputs, *op.outputs]
    for name in names:
        if name in op.attributes or (names.count(name) > 1 and name not in op.updates):
            refuse(op, f"the name {name!r} is used twice")
        if name in ("name", "piece", "pieces") or (name.startswith("d_") and "." not in op.name and not op.updates):
            refuse(op, f"a parameter cannot be called {name!r}")
    if "name" in op.attributes:
        refuse(op, "an attribute cannot be called 'name'")


def _check_names(op: Op, option: str, names: Iterable[str], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            refuse(op, f"{option} names {name!r}", name, known)


def _check_examples(op: Op) -> None:
    if op.examples is None:
        return
    todo = "Write a function such as `def examples(rng, size): yield rng.normal(size=size), {'axis': 0}`."
    refuse_unless(op, callable(op.examples), f"examples={op.examples!r} is not a function", todo)
    code = op.examples.__code__ if isinstance(op.examples, FunctionType) else None
    if code is not None and (code.co_argcount, code.co_kwonlyargcount) == (2, 0):
        return  # the usual case: a signature is slow to read, and importing the ops would take a tenth longer
    try:
        inspect.signature(op.examples).bind(None, 0)
    except TypeError:
        refuse(op, "examples= must take a random generator and a size", todo=todo)


# -- traits


def _check_operand_traits(op: Op) -> None:
    count, two = len(op.inputs), len(op.inputs) == 2 and not op.variadic
    refuse_unless(
        op, two or not op.commutative, f"commutative=True needs an op of two operands, and this one takes {op.signature}",
        "Leave it out, or declare the op with exactly two operands.",
    )
    refuse_unless(
        op, two or not op.neutral, f"neutral= needs an op of two operands, and this one takes {op.signature}",
        "Leave it out, or declare the op with exactly two operands.",
    )
    for slot, number in op.neutral.items():
        sound = slot in range(count) and isinstance(number, (int, float))
        refuse_unless(op, sound, f"neutral gives {number!r} for slot {slot!r}", "Give {slot: number}; the slots are 0 and 1.")
    if op.commutative and len({repr(n) for n in op.neutral.values()}) > 1:
        refuse(op, "it is commutative, and its slots have different neutral numbers", todo="Give both slots the same number.")
    for trait in ("identity_function", "involution"):
        refuse_unless(
            op, not getattr(op, trait) or (count == 1 and not op.variadic),
            f"{trait}=True needs an op of one operand, and this one takes {op.signature}", "Leave it out.",
        )
    if op.shared_operand is not None and op.shared_operand not in op.inputs:
        refuse(op, f"shared_operand names {op.shared_operand!r}", op.shared_operand, op.inputs)
    if op.shared_operand is not None:
        refuse_unless(op, bool(op.updates), "shared_operand= needs an update rule", "Name the overwritten operands in updates=.")
        refuse_unless(op, op.shared_operand not in op.updates, "its shared operand is overwritten", "Take it out of updates=.")


def _check_variadic_traits(op: Op) -> None:
    for trait in ("concat", "sum_of_many"):
        refuse_unless(
            op, not getattr(op, trait) or op.variadic, f"{trait}=True needs an op of any number of operands",
            "Declare its operands with *, such as def join(*parts, axis=0).",
        )
    for trait, attributes in (("concat", ("axis",)), ("scatters_slice", ("axis", "start", "end", "step"))):
        missing = [a for a in attributes if a not in op.attributes]
        if getattr(op, trait) and missing:
            todo = f"Add {missing[0]} as a keyword-only parameter."
            refuse(op, f"{trait}=True needs the attribute {missing[0]!r}", todo=todo)


def _check_gemm(op: Op, trait: GemmTrait) -> None:
    core = op.core if isinstance(op, KernelOp) else None
    if core is None:
        refuse(op, "gemm= needs a gufunc signature", todo='Write @kernel("(m,k),(k,n)->(m,n)", gemm=GemmTrait()).')
    slots = [trait.a, trait.b] + ([] if trait.accumulate is None else [trait.accumulate])
    for slot in slots:
        sound = slot in range(len(op.inputs))
        refuse_unless(op, sound, f"gemm names slot {slot}, and the op takes {op.signature}", "Count operands from 0.")
    refuse_unless(op, len(set(slots)) == len(slots), "gemm names a slot twice", "Give a, b and accumulate different slots.")
    a, b, out = core[trait.a], core[trait.b], core[len(op.inputs)]
    product = len(a) == len(b) == 2 and a[1] == b[0] and out == (a[0], b[1]) and len({*a, *b}) == 3
    refuse_unless(
        op, product and len(op.outputs) == 1, f"its signature is not a matrix product of slots {trait.a} and {trait.b}",
        "Give the factors the axes (m,k) and (k,n), and the output (m,n).",
    )
    if trait.accumulate is not None:
        name = op.inputs[trait.accumulate]
        axes = f"({','.join(out)})"
        refuse_unless(op, core[trait.accumulate] == out, f"gemm accumulates into {name!r}, whose axes are not those of the output",
                      f"Give {name} the axes {axes}.")  # fmt: skip
        refuse_unless(op, op.updates == (name,), f"gemm accumulates into {name!r}, which the op does not update",
                      f"Write updates=({name!r},).")  # fmt: skip
