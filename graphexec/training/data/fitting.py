"""Fits an array to an input: its rank, its sizes, and its element type, without losing anything unsaid.

Arrays are converted and checked in blocks of rows, so that the memory beside the result stays small.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphexec.errors import DataError
from graphexec.ir.convert import rounded_integers
from graphexec.ir.function import Leaf
from graphexec.ir.spec import DTYPES, itemsize, shape_text
from graphexec.training.data.source import require_memory

Array = np.ndarray

BLOCK = 16 * 2**20
"""Bytes of a block."""


def fitted(array: Array, leaf: Leaf, where: str, *, finite: bool = False) -> Array:
    """Converts an array to an input's element type; ``finite`` also refuses NaN and infinity.

    Floating numbers are rounded to the nearest of the input's type; integers must be kept exactly, and a floating number that an
    integer input takes must be whole. *Raises* DataError if rank, a size, the element type or a number does not fit.
    """
    facts = [
        f"input {leaf.name!r} is declared {leaf.dtype}{shape_text(leaf.shape)}",
        f"the array is {array.dtype}{shape_text(array.shape)}",
    ]
    if array.ndim != len(leaf.shape):
        raise DataError(
            f"input {leaf.name!r} has {len(leaf.shape)} axes, but the array has {array.ndim}",
            source=where,
            facts=facts,
            todo="Reshape the array.",
        )
    for axis, (n, size) in enumerate(zip(leaf.shape, array.shape, strict=True)):
        if not isinstance(n, str) and n != size:
            raise DataError(
                f"input {leaf.name!r} has size {n} on axis {axis}, but the array has {size}",
                source=where,
                facts=facts,
                todo="Check which array belongs to which input.",
            )
    if array.dtype.kind not in "fiub" or leaf.dtype not in DTYPES:
        raise DataError(
            f"the array holds {_kind(array)}, not numbers", source=where, facts=facts, todo="Save it as an array of numbers."
        )
    if finite and array.dtype.kind == "f":
        _require_finite(array, where, facts)
    return array if array.dtype == leaf.dtype else _converted(array, leaf, where, facts)


def _blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """Returns blocks of rows, each with the number of its first row; an array without axes counts as a row."""
    rows = array.reshape(1) if array.ndim == 0 else array
    step = max(BLOCK // max(rows[:1].nbytes, 1), 1)
    for begin in range(0, len(rows), step):
        yield begin, rows[begin : begin + step]


def _place(array: Array, begin: int, lost: Array) -> tuple[int, ...]:
    """The index in the array of the first element of a block that is marked."""
    first, *rest = (int(i) for i in np.argwhere(lost)[0])
    return (begin + first, *rest)[: array.ndim]


def _require_finite(array: Array, where: str, facts: list[str]) -> None:
    for begin, block in _blocks(array):
        bad = ~np.isfinite(block)
        if bad.any():
            at = _place(array, begin, bad)
            names = ["row", "column"] if array.ndim == 2 else ["row"]
            place = ", ".join(f"{n} {i}" for n, i in zip(names, at, strict=False)) if array.ndim in (1, 2) else f"index {at}"
            raise DataError(
                f"the data holds {array[at]!s} at {place} (counted from 0)",
                source=where,
                facts=facts,
                todo="Remove or replace such rows. For a graph that expects them: allow_nan: true under train, or --allow-nan.",
            )


def _converted(array: Array, leaf: Leaf, where: str, facts: list[str]) -> Array:
    require_memory(array.size * itemsize(leaf.dtype), where)
    out = np.empty(array.shape, leaf.dtype)
    target = out.reshape(1) if out.ndim == 0 else out
    for begin, block in _blocks(array):
        with np.errstate(all="ignore"):
            converted = block.astype(leaf.dtype)
        lost = _lost(block, converted, leaf.dtype)
        if lost is not None and lost.any():
            at = _place(array, begin, lost)
            what = "overflows" if DTYPES[leaf.dtype] == "f" and array.dtype.kind == "f" else "cannot be represented exactly as"
            raise DataError(
                f"{array[at]!s} at index {at} {what} {leaf.dtype}",
                source=where,
                facts=facts,
                todo=f"Convert the array, or declare the input as {array.dtype.name if array.dtype.name in DTYPES else 'float64'}.",
            )
        target[begin : begin + len(block)] = converted
    return out


def _lost(array: Array, converted: Array, dtype: str) -> Any:
    """Marks the numbers that a conversion does not keep; None if it keeps all."""
    if array.dtype.kind in "iu" and DTYPES[dtype] == "f":
        return rounded_integers(array, converted)
    if np.can_cast(array.dtype, dtype, "safe"):
        return None
    if DTYPES[dtype] == "f":
        return np.isinf(converted) & ~np.isinf(array)
    return (converted.astype(array.dtype) != array) | _beyond(array, dtype)


def _beyond(array: Array, dtype: str) -> Any:
    """Marks numbers outside an integer type's range, which may survive a conversion and back by wrapping around twice."""
    if DTYPES[dtype] != "i":
        return False
    info = np.iinfo(dtype)
    return (array < info.min) | ((array > info.max) if array.dtype.kind in "iub" else (array >= 2.0 ** (info.bits - 1)))


def _kind(array: Array) -> str:
    kinds = {"c": "complex numbers", "U": "text", "S": "bytes", "V": "records", "M": "dates", "m": "time spans"}
    return kinds.get(array.dtype.kind, str(array.dtype))
