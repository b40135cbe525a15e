"""Second values of attributes: both bools, numbers by sign and size, negative axes, every text that the op compares with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

from graphexec.errors import OpError
from graphexec.ir.attributes import MISFIT, REQUIRED, AttributeType
from graphexec.ir.keys import exactly
from graphexec.ir.op import Op

NUMBERS = (2.0, 0.5, -1.0, 0.0, 1.0, 1.7, 3.0, 10.0, -0.3, 0.1)
INTEGERS = (0, 1, 2, 3, -1, -2, 5)
AXES = (0, -1, 1, -2, None, (0, 1), (0, -1), (0,))
MOST = 6
"""Values that are tried of each attribute."""


def defaults(op: Op) -> dict[str, Any] | None:
    """Values for the attributes without a default; None if none of the usual ones is accepted."""
    found: dict[str, Any] = {}
    for name, default in op.attributes.items():
        if default is REQUIRED:
            value = next((v for v in candidates(op, name) if _accepts(op, name, v)), REQUIRED)
            if value is REQUIRED:
                return None
            found[name] = value
    return found


def variants(op: Op, given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each attribute in turn, its name and the attributes with another value of it."""
    for name in op.attributes:
        if name in given and op.attributes[name] is not REQUIRED:
            continue
        used = {exactly(given.get(name, op.attributes[name]))}
        count = 0
        for value in candidates(op, name):
            if count < MOST and exactly(value) not in used and _accepts(op, name, value):
                used.add(exactly(value))
                count += 1
                yield name, {**given, name: value}


def candidates(op: Op, name: str) -> Iterator[Any]:
    """Values to try for an attribute: those that the op compares with, then usual ones of its type."""
    default, kind = op.attributes[name], op.attribute_types.get(name)
    yield from _choices(kind)
    texts = list(dict.fromkeys(_texts(op)))
    if isinstance(default, bool):
        yield from (not default, default)
    elif isinstance(default, str) or (kind is not None and "string" in kind.text):
        yield from texts
    elif name in ("axis", "axes", "dim") or (kind is not None and "axis" in kind.text.lower()):
        yield from AXES
    elif isinstance(default, float):
        yield from (default * 2 + 0.3, *NUMBERS)
    elif isinstance(default, int):
        yield from (default + 1, *INTEGERS)
    elif isinstance(default, tuple):
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in default):
            yield tuple(v + 1 for v in default)
            yield tuple(reversed(default))
    else:
        yield from (1, 2, 0, -1, 0.5, True, False, (0,), (1, 1), "float32", *texts)


def _choices(kind: AttributeType | None) -> Iterator[Any]:
    """The values that a type lists: of Literal, and bools."""
    if kind is None:
        return
    for member in (kind, *kind.members):
        if member.stub.startswith("Literal["):
            for text in member.stub[len("Literal[") : -1].split(", "):
                yield text[1:-1] if text[:1] in "'\"" else int(text) if text.lstrip("-").isdigit() else text
        elif member.stub == "bool":
            yield from (True, False)
        elif member.stub == "float":
            yield from NUMBERS[:2]
        elif member.stub == "int":
            yield from INTEGERS[:3]


def _texts(op: Op) -> Iterator[str]:
    """The short texts in an op's functions: among them are those that it compares an attribute with."""
    rules = op.rules
    functions = [op.function, op.reference, rules.gradient, rules.decomposition]
    if rules.backward is not None:
        functions.append(rules.backward.function)
    for function in functions:
        code = getattr(getattr(function, "py_func", function), "__code__", None)
        if isinstance(code, CodeType):
            yield from _constants(code)


def _constants(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        for value in constant if isinstance(constant, tuple) else (constant,):
            if isinstance(value, str) and 0 < len(value) <= 24 and value.isprintable():
                yield value
            elif isinstance(value, CodeType):
                yield from _constants(value)


def _accepts(op: Op, name: str, value: Any) -> bool:
    known = {k: v for k, v in op.attributes.items() if v is not REQUIRED}
    try:
        kind = op.attribute_types.get(name)
        if kind is not None:
            return kind.convert(value) is not MISFIT
        op.check_attributes({**known, name: value})
    except OpError:
        return False
    return True
