"""Calls on which an op is tried, from its `examples=`: checked, and in the element type asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphexec.errors import GraphExecError, PluginError
from graphexec.ir.op import Op
from graphexec.ir.spec import DTYPES, check_dtype

SIZE = 4
"""The size of examples where no other one is asked for."""

_TODO = "Write a function such as `def examples(rng, size): yield rng.normal(size=size), {'axis': 0}`."


class Call(NamedTuple):
    """Operands by slot, None for one that is left out, and all attributes of a call of an op."""

    operands: tuple[np.ndarray | None, ...]
    attributes: dict[str, Any]


def example_calls(op: Op, rng: np.random.Generator, dtype: str = "float64", size: int = SIZE) -> Iterator[Call]:
    """Draws the calls of an op's examples; none if it gives no examples.

    Floating operands get ``dtype``, or their fixed type where the op declares one; other operands keep their type.

    *Raises* PluginError when the function fails, or yields what is no call of the op; DtypeError for an unsupported ``dtype``.
    """
    dtype = check_dtype(dtype)
    if op.examples is None:
        return
    try:
        drawn = op.examples(rng, size)
        if not isinstance(drawn, Iterable):
            raise _refusal(op, f"examples= returns {drawn!r}, not calls to draw one after the other")
        for number, call in enumerate(drawn):
            yield _checked(op, call, number, dtype)
    except GraphExecError:
        raise
    except Exception as error:  # a function of a plugin may fail in any way
        raise _refusal(op, f"examples= failed with size {size}: {type(error).__name__}: {error}") from error


def _checked(op: Op, call: Any, number: int, dtype: str) -> Call:
    if not isinstance(call, Sequence) or isinstance(call, str):
        raise _refusal(op, f"example {number} is {_kind(call)}, not a tuple of operands")
    *operands, last = call or [{}]
    attributes = last if isinstance(last, Mapping) else {}
    operands = operands if isinstance(last, Mapping) else [*operands, last]
    try:
        bound, attributes = op.bind(operands, attributes)
        return Call(tuple(converted(op, slot, operand, dtype) for slot, operand in enumerate(bound)), attributes)
    except GraphExecError as error:
        raise _refusal(op, f"example {number} is no call of the op: {error.what}", error.facts, error.todo) from error


def converted(op: Op, slot: int, operand: Any, dtype: str) -> np.ndarray | None:
    """An operand of an example as an array; a floating one in its fixed type, or else in ``dtype``."""
    if operand is None:
        return None
    array = np.asarray(operand)
    if array.dtype.kind == "f":
        return array.astype(op.types.get(op.inputs[0 if op.variadic else slot], dtype))
    if array.dtype.name not in DTYPES:
        raise _refusal(op, f"operand {op.input_name(slot)!r} of an example is {array.dtype}", todo=f"Use {', '.join(DTYPES)}.")
    return array


def _refusal(op: Op, what: str, facts: Iterable[str] = (), todo: str | None = _TODO) -> PluginError:
    return PluginError(what, op=op.name, source=op.file, facts=facts, todo=todo)


def _kind(value: Any) -> str:
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
