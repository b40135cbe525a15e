"""Zeros with slices added at indices along an axis, in compensated sums: what scatter_add consists of.

    out[before, j, after] = Σ d[before, i, after] over the i with indices[i] = j
    d_d = gather(d_out, indices)

Shapes: as scatter_add. `rest` and `place` are memory that the sums need, and zero in the end: the rounding errors of each sum,
(min(n, indices), after), and where those of a slot are, (n,); both are empty if no sum can be long. Dtypes: d floating or integer.
Slices with the same index are added in the order of indices. Error bound of a floating sum: eps Σ|d|, however many slices it adds;
up to 64 are added without compensation. *Raises* KernelError when an index is out of range.
Source: Kahan, "Further remarks on reducing truncation errors", Comm. ACM 8(1), 1965; Knuth, TAOCP volume 2, section 4.2.2.
"""

import math

import numpy as np
from graphexec_ops.shape._examples import scattered

from graphexec.plugin import ShapeError, TensorSpec, kernel, normalize_axes, ops

LONG = 64
"""Slices up to which a sum is short enough to be added one after another."""


def _shape(d, indices, like, *, axis=0):
    (a,) = normalize_axes(axis, like.ndim, "scatter_add")
    if d.shape != (*like.shape[:a], *indices.shape, *like.shape[a + 1 :]):
        raise ShapeError("the slices do not have the shape that gather gives", todo="It is that of gather(like, indices).")
    n, count, inner = int(like.shape[a]), math.prod(map(int, indices.shape)), math.prod(map(int, like.shape[a + 1 :]))
    rows = min(n, count) if count > LONG and d.dtype.startswith("float") else 0
    return TensorSpec(like.shape, d.dtype), TensorSpec((rows, inner), d.dtype), TensorSpec((n if rows else 0,), "int32")


def _reference(d, indices, like, *, axis=0):
    _, rest, place = _shape(*(TensorSpec(np.shape(x), np.asarray(x).dtype.name) for x in (d, indices, like)), axis=axis)
    out = np.zeros(np.shape(like), np.float64 if d.dtype.kind == "f" else d.dtype)
    axis = axis % out.ndim
    slices = d.reshape(*out.shape[:axis], np.size(indices), *out.shape[axis + 1 :])
    np.add.at(np.moveaxis(out, axis, 0), np.ravel(indices), np.moveaxis(slices, axis, 0))
    return out.astype(d.dtype), np.zeros(rest.shape, d.dtype), np.zeros(place.shape, np.int32)


@kernel(
    shape=_shape, shape_only=("like",), reference=_reference, kinds="fi", types={"indices": "int64", "place": "int32"},
    outputs=("out", "rest", "place"), domain={"d": (-4.0, 4.0), "indices": (0, 1)}, errors={1: "an index is out of range"},
    examples=scattered,
)  # fmt: skip
def scatter_sums(d, indices, out, rest, place, *, axis=0):
    axis = axis % out.ndim
    n, outer, inner = out.shape[axis], 1, 1
    for a in range(axis):
        outer *= out.shape[a]
    for a in range(axis + 1, out.ndim):
        inner *= out.shape[a]
    source, which, target, errors = d.reshape(-1), indices.reshape(-1), out.reshape(-1), rest.reshape(-1)
    count = which.size
    for k in range(count):
        if which[k] < -n or which[k] >= n:
            return 1
    target[:] = 0
    errors[:] = 0
    longest = most_hits(which, place, n)
    if longest > LONG:
        number_slots(which, place, n)
    for o in range(outer):
        for k in range(count):
            index = which[k] + n if which[k] < 0 else which[k]
            at, to = (o * count + k) * inner, (o * n + index) * inner
            if longest <= LONG:
                for j in range(inner):
                    target[to + j] += source[at + j]
            else:
                row = (place[index] - 1) * inner
                add_compensated(target[to : to + inner], errors[row : row + inner], source[at : at + inner])
        for index in range(n if longest > LONG else 0):
            row = (place[index] - 1) * inner
            for j in range(inner if row >= 0 else 0):
                target[(o * n + index) * inner + j] += errors[row + j]
                errors[row + j] = 0.0
    place[:] = 0
    return 0


def most_hits(which, place, n):
    """How often the most frequent slot occurs, as far as it matters; 0 if there is no memory to count."""
    place[:] = 0
    most = 0
    for k in range(which.size if place.size > 0 else 0):
        index = which[k] + n if which[k] < 0 else which[k]
        place[index] += 1
        if place[index] > most:
            most = place[index]
            if most > LONG:
                break
    return most


def number_slots(which, place, n):
    """Numbers the slots that occur, from 1 on; the others get 0."""
    place[:] = 0
    used = 0
    for k in range(which.size if place.size > 0 else 0):
        index = which[k] + n if which[k] < 0 else which[k]
        if place[index] == 0:
            used += 1
            place[index] = used


def add_compensated(total, error, x):
    """total += x + error; the error becomes what this addition rounds away, by Knuth's TwoSum."""
    for j in range(x.size):
        before, added = total[j], x[j] + error[j]
        after = before + added
        kept = after - before
        lost = (before - (after - kept)) + (added - kept)
        total[j] = after
        error[j] = lost if lost == lost else 0.0  # it is NaN where the sum is infinite


@scatter_sums.gradient
def _(d_out, indices, *, axis):
    return ops.gather(d_out, indices, axis=axis)
