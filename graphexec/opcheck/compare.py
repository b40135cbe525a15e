"""Compares results with what they should be: by element, and beside the largest one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphexec.opcheck.report import short

TOLERANCE = {"float32": 2e-5, "float64": 1e-10}
"""Largest accepted difference, relative to the largest result, or to 1."""
DIGITS = {"float32": 2e-3, "float64": 1e-7}
"""Relative error of one element from which digits are lost: a warning."""
WIDER = {"float32": np.float64, "float64": np.longdouble}
"""The type in which a reference is evaluated once more."""


class Difference(NamedTuple):
    """A difference between two results, and the first index at which they differ most."""

    text: str
    at: tuple[int, ...]
    error: float


def difference(found: Any, expected: Any, tolerance: float, *, each: bool = False) -> Difference | None:
    """The first element that differs by more than a tolerance, relative to the largest element, or ``each`` to itself."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return Difference(f"shape {list(found.shape)} in place of {list(expected.shape)}", (), np.inf)
    if not found.size:
        return None
    exact = found.dtype.kind != "f" and expected.dtype.kind != "f"
    if exact:
        wrong = found != expected
        gap = np.where(wrong, np.inf, 0.0)
    else:
        a, b = _real(found), _real(expected)
        with np.errstate(all="ignore"):
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            finite = np.abs(b[np.isfinite(b)])
            own, largest = np.where(np.isfinite(b), np.abs(b), 1.0), float(np.max(finite, initial=0.0))
            gap = np.where(same, 0.0, np.abs(a - b)) / np.maximum(own if each else largest, 1.0)
            gap = np.where(np.isnan(gap) | np.isinf(gap), np.inf, gap)
        wrong = gap > tolerance
    if not wrong.any():
        return None
    flat = np.flatnonzero(wrong)
    index = tuple(int(i) for i in np.unravel_index(flat[0], found.shape))
    place = f" at {list(index)}" if index else ""
    others = f", and {len(flat) - 1} more differ" if len(flat) > 1 else ""
    return Difference(f"{short(found[index])} in place of {short(expected[index])}{place}{others}", index, float(gap[index]))


def overflown(found: np.ndarray, wide: np.ndarray) -> tuple[int, ...] | None:
    """The first element that is not finite although the result in a wider type is, and would fit."""
    if found.dtype.kind != "f" or found.shape != wide.shape:
        return None
    limit = float(np.finfo(found.dtype).max)
    with np.errstate(all="ignore"):
        wrong = ~np.isfinite(found) & np.isfinite(wide) & (np.abs(wide) < limit)
    return tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.any() else None


def lost_digits(found: np.ndarray, wide: np.ndarray, most: float | None = None) -> Difference | None:
    """The element with the largest relative error, if digits are lost there: more than ``most``, or half of those of the type."""
    if found.dtype.name not in DIGITS or found.shape != wide.shape or not found.size:
        return None
    info = np.finfo(found.dtype)
    a, b = found.astype(np.longdouble), wide.astype(np.longdouble)
    with np.errstate(all="ignore"):
        relative = np.abs(a - b) / np.maximum(np.abs(b), info.tiny / info.eps)
        relative = np.where(np.isfinite(a) & np.isfinite(b), relative, 0)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(relative)), found.shape))
    error = float(relative[index])
    if error <= (most or DIGITS[found.dtype.name]):
        return None
    place = f" at {list(index)}" if index else ""
    values = f"{short(found[index])} in place of {short(wide[index].astype(float))}"
    return Difference(f"{values}{place}, a relative error of {error:.0e}", index, error)


def _real(array: np.ndarray) -> np.ndarray:
    return array.astype(np.longdouble if array.dtype == np.longdouble else np.float64)


def first(mask: np.ndarray) -> list[int]:
    """The first index at which a mask is true."""
    return [int(i) for i in np.argwhere(mask)[0]] if mask.ndim else []


def as_list(results: Any, outputs: Sequence[str]) -> list[Any]:
    """What a reference returns for so many outputs, as a list."""
    return list(results) if len(outputs) > 1 and isinstance(results, (tuple, list)) else [results]
