"""The types of attributes: what an op's author declares, and the one check that every value of an attribute passes.

An author annotates a keyword-only parameter as in any Python function:

    axis: int | tuple[int, ...] | None = None           `Axes`
    padding: Literal["valid", "same"] = "valid"
    groups: Annotated[int, Range(1)] = 1                numbers within limits; in a tuple, each of them
    dtype: DType = "float32"                            an element type

Without an annotation the default gives the type: ``beta=1.0`` is a number, ``axis=0`` an integer, ``keepdims=False`` a boolean.
Calls of every kind, graph files and NetworkX graphs are checked here, before any rule of the op sees the value.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import numpy as np

from graphexec.errors import OpError
from graphexec.ir.spec import DTYPES, Size, element_type

REQUIRED: Any = inspect.Parameter.empty
"""Marks an attribute without a default."""

MISFIT: Any = object()
"""What `AttributeType.convert` returns for a value that is not of the type."""

MAX_LENGTH = 10_000
"""Maximum number of items of an attribute; more belong in an operand."""

_INT64 = (-(2**63), 2**63 - 1)


@dataclass(frozen=True)
class Range:
    """Limits of a number, for ``Annotated``: ``low`` and ``high`` are allowed, ``above`` and ``below`` are not."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    nan: bool = False
    """Whether NaN is allowed."""

    def __contains__(self, value: float) -> bool:
        if value != value:
            return self.nan
        return (
            (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above) and (self.below is None or value < self.below)
        )  # fmt: skip

    def __str__(self) -> str:
        words = [("from", self.low), ("above", self.above), ("to", self.high), ("to below", self.below)]
        return "".join(f" {word} {_limit(limit)}" for word, limit in words if limit is not None)


def _limit(limit: float) -> str:
    return "infinity" if limit == float("inf") else f"{limit:g}" if abs(limit) < 1e6 else str(limit)


class ElementType:
    """Marks an attribute that is an element type; see `DType`."""


DType: TypeAlias = Annotated[str, ElementType()]
"""An element type: a name, a NumPy dtype or a NumPy scalar type, which arrives as the name."""

Axes: TypeAlias = int | tuple[int, ...] | None
"""One axis, several, or None for all."""

Shape: TypeAlias = int | str | tuple[int | str, ...]
"""Sizes and names of dimensions."""


@dataclass(frozen=True)
class AttributeType:
    """The type of an attribute: how it is called in messages and in stubs, and the check of a value."""

    text: str
    plural: str
    stub: str
    convert: Callable[[Any], Any]
    """Returns the value as plain data, or MISFIT."""
    members: tuple[AttributeType, ...] = ()
    """The types among which it is a choice."""


# -- the types


def integer(limits: Range = Range()) -> AttributeType:
    """An integer of 64 bits; a boolean is none."""

    def convert(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or not _INT64[0] <= value <= _INT64[1] or value not in limits:
            return MISFIT
        return value if type(value) in (int, Size) else int(value)

    return AttributeType(f"an integer{limits}", f"integers{limits}", "int", convert)


def number(limits: Range = Range()) -> AttributeType:
    """A number, as a float; an integer if a float holds it exactly."""

    def convert(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return MISFIT
        try:
            real = float(value)
        except OverflowError:
            return MISFIT
        return real if (real == value or real != real) and real in limits else MISFIT

    return AttributeType(f"a number{limits}", f"numbers{limits}", "float", convert)


def choice(values: tuple[Any, ...]) -> AttributeType:
    """One of several strings or integers."""

    def convert(value: Any) -> Any:
        return next((v for v in values if type(v) is type(value) and v == value), MISFIT)

    text = _either([repr(v) for v in values])
    return AttributeType(text, text, f"Literal[{', '.join(map(repr, values))}]", convert)


def _dtype(value: Any) -> Any:
    name = element_type(value)
    return MISFIT if name is None else name


def _literal(value: Any) -> Any:
    if isinstance(value, tuple):
        items = tuple([_literal(v) for v in value])
        return MISFIT if MISFIT in items else items
    if isinstance(value, int) and not isinstance(value, bool) and not _INT64[0] <= value <= _INT64[1]:
        return MISFIT
    return value if value is None or isinstance(value, (bool, int, float, str)) else _dtype(value)


def _is(kind: type) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, kind) else MISFIT


TRUTH = AttributeType("true or false", "booleans", "bool", _is(bool))
TEXT = AttributeType("a string", "strings", "str", lambda value: str(value) if isinstance(value, str) else MISFIT)
NOTHING = AttributeType("None", "None", "None", lambda value: None if value is None else MISFIT)
DTYPE = AttributeType(f"an element type: {', '.join(DTYPES)}", "element types", "DTypeLike", _dtype)
LITERAL = AttributeType("a number, a string, a boolean, None, or a list of them", "literals", "Attribute", _literal)


def items(kind: AttributeType) -> AttributeType:
    """A list of any length, as a tuple."""

    def convert(value: Any) -> Any:
        if not isinstance(value, tuple):
            return MISFIT
        found = tuple([kind.convert(v) for v in value])
        return MISFIT if MISFIT in found else found

    return AttributeType(f"a list of {kind.plural}", f"lists of {kind.plural}", f"Sequence[{kind.stub}]", convert)


def fixed(kinds: tuple[AttributeType, ...]) -> AttributeType:
    """A list with one item of each type, as a tuple."""

    def convert(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(kinds):
            return MISFIT
        found = tuple([kind.convert(v) for kind, v in zip(kinds, value, strict=True)])
        return MISFIT if MISFIT in found else found

    same = len({kind.text for kind in kinds}) == 1
    inside = f"{len(kinds)} {kinds[0].plural}" if same else ", ".join(kind.text for kind in kinds)
    return AttributeType(f"a list of {inside}", f"lists of {inside}", f"Sequence[{kinds[0].stub if same else 'Any'}]", convert)


def one_of(kinds: tuple[AttributeType, ...]) -> AttributeType:
    """A value of any of several types; the first that fits."""
    kinds = tuple(part for kind in kinds for part in kind.members or (kind,))

    def convert(value: Any) -> Any:
        return next((found for found in (kind.convert(value) for kind in kinds) if found is not MISFIT), MISFIT)

    stubs = dict.fromkeys(kind.stub for kind in kinds)
    texts, plurals = _either([k.text for k in kinds]), _either([k.plural for k in kinds])
    return AttributeType(texts, plurals, " | ".join(stubs), convert, kinds)


def _either(parts: list[str]) -> str:
    if any("," in part or " or " in part for part in parts[:-1]) or len(parts) > 2:
        return f"{', '.join(parts[:-1])}, or {parts[-1]}"
    return " or ".join(parts)


# -- declarations

_OF_DEFAULT: dict[type, AttributeType] = {bool: TRUTH, int: integer(), float: number(), str: TEXT}


def declared_type(annotation: Any, default: Any) -> AttributeType:
    """The type of an attribute, from its annotation, or else from its default. *Raises* TypeError for an unknown annotation."""
    if annotation is not REQUIRED:
        return _annotated(annotation, Range())
    if isinstance(default, tuple) and default and len({type(v) for v in default}) == 1 and type(default[0]) in _OF_DEFAULT:
        return items(_OF_DEFAULT[type(default[0])])
    return _OF_DEFAULT.get(type(default), LITERAL)


def _annotated(annotation: Any, limits: Range) -> AttributeType:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if any(isinstance(mark, ElementType) for mark in inside[1:]):
            return DTYPE
        return _annotated(inside[0], next((mark for mark in inside[1:] if isinstance(mark, Range)), limits))
    if origin in (Union, types.UnionType):
        return one_of(tuple(_annotated(part, limits) for part in inside))
    if origin is Literal:
        return choice(inside)
    if origin in (tuple, list) or getattr(origin, "__name__", "") == "Sequence":
        if origin is tuple and inside[-1:] != (...,):
            return fixed(tuple(_annotated(part, limits) for part in inside))
        return items(_annotated(inside[0], limits))
    if annotation is int or annotation is float:
        return integer(limits) if annotation is int else number(limits)
    simple = {bool: TRUTH, str: TEXT, None: NOTHING, type(None): NOTHING, Any: LITERAL}
    if annotation not in simple:
        raise TypeError(annotation)
    return simple[annotation]


def parameter_annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function's parameters; those that are text are looked up in the function's file."""
    found = getattr(function, "__annotations__", {})
    return get_type_hints(function, include_extras=True) if any(isinstance(a, str) for a in found.values()) else dict(found)


# -- values


def convert(key: str, value: Any, kind: AttributeType) -> Any:
    """Converts an attribute to plain data of its type. *Raises* OpError for a value of another type or out of range."""
    found = kind.convert(_plain(value) if kind is not LITERAL or not isinstance(value, np.ndarray) else value)
    if found is MISFIT:
        hint = "; pass an array as an operand" if isinstance(value, np.ndarray) and kind is LITERAL else ""
        raise OpError(f"attribute {key!r} cannot be {_shown(value)}", todo=f"Give {kind.text}{hint}.")
    return found


def fill_in(defaults: Mapping[str, Any], kinds: Mapping[str, AttributeType], given: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a call: those given, converted, and the defaults of the others. *Raises* OpError."""
    attributes = {}
    for key, default in defaults.items():
        value = given.get(key, default)
        if value is REQUIRED:
            raise OpError(f"attribute {key!r} is missing", todo=f"Give {key}=...: {kinds.get(key, LITERAL).text}.")
        attributes[key] = value if value is default else convert(key, value, kinds.get(key, LITERAL))
    return attributes


def _plain(value: Any) -> Any:
    """Makes tuples of lists and small arrays, and Python's numbers of NumPy's."""
    if isinstance(value, (list, tuple, range)):
        return tuple([_plain(v) for v in value]) if len(value) <= MAX_LENGTH else value
    if isinstance(value, np.ndarray):
        return _plain(value.tolist()) if value.size <= MAX_LENGTH else value
    return value.item() if isinstance(value, np.generic) else value


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    try:
        text = repr(value)
    except Exception:  # another author's __repr__ may fail, and so does that of a list of huge integers
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."

