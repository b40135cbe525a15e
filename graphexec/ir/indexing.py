"""Indexing of values, `x[0, ..., 1:]`, as in NumPy: slices and integers are views, arrays of indices are gathered."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphexec.errors import OpError, OutOfRangeError
from graphexec.ir.namespace import ops
from graphexec.ir.spec import Size

_TODO = "Use integers, slices, ..., None, or one array of integers; choose by a condition with gx.ops.where."


def index(value: Any, key: Any) -> Any:
    """Returns ``value[key]``. *Raises* OpError, or OutOfRangeError for an index that no element has."""
    keys = _whole(value, [_read(k) for k in (key if isinstance(key, tuple) else (key,))])
    arrays = [k for k in keys if not _is_basic(k)]
    if arrays and (len(arrays) > 1 or any(k is None or isinstance(k, int) for k in keys)):
        raise OpError("one array of indices stands alone, or beside slices", todo="Index in two steps.")
    value_axis, gathered = 0, None
    for k in keys:
        if not _is_basic(k):
            _check_range(k, value.spec.shape[value_axis])
            gathered = (value_axis, k)
        value_axis += k is not None
    value = _basic(value, [k if _is_basic(k) else slice(None) for k in keys])
    return value if gathered is None else ops.gather(value, gathered[1], axis=gathered[0])


def _is_basic(key: object) -> bool:
    return key is None or isinstance(key, (int, slice))


def _read(key: Any) -> Any:
    """One key as None, Ellipsis, an int, a slice of ints, an array of integers, or a value of integers."""
    if key is None or key is Ellipsis:
        return key
    if isinstance(key, slice):
        return slice(*(None if n is None else _integer(n) for n in (key.start, key.stop, key.step)))
    if hasattr(key, "apply_op"):
        if key.dtype not in ("int32", "int64"):
            raise OpError(f"cannot index with {key!r}", todo=_TODO)
        return key
    if isinstance(key, (list, np.ndarray)):
        return _indices(key)
    return _integer(key)


def _integer(key: Any) -> int:
    if isinstance(key, (bool, np.bool_)):
        raise OpError(f"cannot index with {key!r}", todo=_TODO)
    try:
        return operator.index(key)
    except TypeError:
        raise OpError(f"cannot index with {key!r}", todo=_TODO) from None


def _indices(key: Any) -> Any:
    try:
        array = np.asarray(key)
    except ValueError:
        raise OpError(f"cannot index with {key!r}", todo=_TODO) from None
    if array.dtype.kind == "b" and array.ndim:
        raise OpError("cannot index with a mask", todo="Give the places: np.flatnonzero(mask). " + _TODO)
    if array.size == 0 and not isinstance(key, np.ndarray):
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise OpError(f"cannot index with {key!r}", todo=_TODO)
    return array if array.ndim else int(array)


def _check_range(key: Any, size: int) -> None:
    if isinstance(key, np.ndarray) and key.size and not isinstance(size, Size):
        worst = max(int(key.max()), -1 - int(key.min()))
        if worst >= size:
            raise _out_of_range(int(key.max()) if key.max() >= size else int(key.min()), size)


def _out_of_range(key: int, size: int) -> OutOfRangeError:
    return OutOfRangeError(f"index {key} is out of range for an axis of size {size}", todo=f"Use {-size} to {size - 1}.")


def _whole(value: Any, keys: list[Any]) -> list[Any]:
    """The keys with slices in place of ``...`` and of the axes that are not mentioned."""
    given = sum(1 for k in keys if k is not None and k is not Ellipsis)
    ellipses = [at for at, k in enumerate(keys) if k is Ellipsis]
    if len(ellipses) > 1 or given > value.ndim:
        raise OutOfRangeError(f"{len(keys)} indices do not fit {value.ndim} axes", todo="Give at most one index for each axis.")
    at = ellipses[0] if ellipses else len(keys)
    return [*keys[:at], *[slice(None)] * (value.ndim - given), *keys[at + 1 :]]


def _basic(value: Any, keys: list[Any]) -> Any:
    starts, ends, axes, steps, dropped, inserted = [], [], [], [], [], []
    axis = kept = 0
    for k in keys:
        if k is None:
            inserted.append(kept)
            kept += 1
            continue
        if isinstance(k, slice):
            if k != slice(None):
                starts.append(k.start)
                ends.append(k.stop)
                steps.append(1 if k.step is None else k.step)
                axes.append(axis)
            kept += 1
        else:
            size = value.spec.shape[axis]
            if not isinstance(size, Size) and not -size <= k < size:
                raise _out_of_range(k, size)
            starts.append(k)
            ends.append(None if k == -1 else k + 1)
            steps.append(1)
            axes.append(axis)
            dropped.append(axis)
        axis += 1
    if axes:
        value = ops.slice(value, starts=starts, ends=ends, axes=axes, steps=steps)
    if dropped:
        value = ops.squeeze(value, axis=dropped)
    for place in inserted:
        value = ops.expand_dims(value, axis=place)
    return value
