"""Right ops whose operands must fit together, which `examples=` sees to."""

import itertools
from typing import Annotated

import numpy as np

from graphexec.plugin import Range, ShapeError, TensorSpec, kernel


def _tables(rng, size):
    for shape in ((4,), (2, 3), (0,)):
        xs = np.cumsum(rng.uniform(0.2, 1.0, size + 2))
        yield xs, rng.normal(size=size + 2), rng.uniform(xs[0] + 0.05, xs[-1] - 0.05, shape)


def _interpolated(xs, ys, q):
    return np.interp(q, xs, ys).astype(q.dtype)


def _query_shape(xs, ys, q):
    if xs.ndim != 1 or ys.shape != xs.shape:
        raise ShapeError("xs and ys must be vectors of one size", op="interpolated", todo="Give as many ys as xs.")
    return TensorSpec(q.shape, q.dtype)


@kernel(shape=_query_shape, reference=_interpolated, examples=_tables, differentiable=False,
        errors={1: "a table needs two numbers, in ascending order"})  # fmt: skip
def interpolated(xs, ys, q, out):
    """out = the straight line through the neighbours (xs[i], ys[i]) of q; beyond the ends, the last value

    Raises KernelError for a table that has fewer than two numbers, or does not ascend.
    """
    if xs.size < 2:
        return 1
    for i in range(1, xs.size):
        if not xs[i - 1] < xs[i]:
            return 1
    asked, target = q.reshape(-1), out.reshape(-1)
    for j in range(asked.size):
        low, high = 0, xs.size - 1
        while high - low > 1:
            middle = (low + high) // 2
            if xs[middle] <= asked[j]:
                low = middle
            else:
                high = middle
        if asked[j] != asked[j]:
            target[j] = asked[j]
        elif asked[j] <= xs[0]:
            target[j] = ys[0]
        elif asked[j] >= xs[xs.size - 1]:
            target[j] = ys[ys.size - 1]
        else:
            target[j] = ys[low] + (ys[high] - ys[low]) * ((asked[j] - xs[low]) / (xs[high] - xs[low]))
    return 0


def _sparse(rng, size):
    for rows in {1, size, size + 2}:
        counts = rng.integers(0, 4, rows)
        starts = np.concatenate([[0], np.cumsum(counts)])
        yield rng.normal(size=starts[-1]), rng.integers(0, size + 1, starts[-1]), starts, rng.normal(size=size + 1)


def _rows_shape(values, columns, starts, x):
    if any(s.ndim != 1 for s in (values, columns, starts, x)) or columns.shape != values.shape or int(starts.shape[0]) < 1:
        raise ShapeError("values and columns must be vectors of one size", op="sparse_times", todo="Reshape them.")
    return TensorSpec((starts.shape[0] - 1,), values.dtype)


def _sparse_times(values, columns, starts, x):
    terms = values * x[columns]
    return np.array([np.sum(terms[a:b]) for a, b in itertools.pairwise(starts)], values.dtype)


@kernel(
    shape=_rows_shape, reference=_sparse_times, examples=_sparse, types={"columns": "int64", "starts": "int64"},
    errors={1: "starts must ascend from 0 to the number of values", 2: "a column is out of range"},
)  # fmt: skip
def sparse_times(values, columns, starts, x, out):
    """out[i] = Σ values[k] x[columns[k]] over k from starts[i] to starts[i + 1] - 1, the product of a CSR matrix

    d_values[k] = d_out[i] x[columns[k]],  d_x[j] = Σ d_out[i] values[k] over the k of column j. Raises KernelError.
    """
    rows = out.size
    if starts[0] != 0 or starts[rows] != values.size:
        return 1
    for i in range(rows):
        if starts[i] > starts[i + 1]:
            return 1
    for k in range(values.size):
        if columns[k] < 0 or columns[k] >= x.size:
            return 2
    for i in range(rows):
        total = 0.0
        for k in range(starts[i], starts[i + 1]):
            total += values[k] * x[columns[k]]
        out[i] = total
    return 0


@sparse_times.backward
def _(d_out, values, columns, starts, x, d_values, d_x):
    rows = starts.size - 1
    d_x[:] = 0
    if starts[0] != 0 or starts[rows] != values.size:
        return 1
    for i in range(rows):
        if starts[i] > starts[i + 1]:
            return 1
    for k in range(values.size):
        if columns[k] < 0 or columns[k] >= x.size:
            return 2
    for i in range(rows):
        for k in range(starts[i], starts[i + 1]):
            d_values[k] = d_out[i] * x[columns[k]]
            d_x[columns[k]] += d_out[i] * values[k]
    return 0


STEP, FIRST = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
HALF, SHIFT = np.uint64(31), np.uint64(40)


def _noise_shape(seed, like):
    if seed.ndim != 0:
        raise ShapeError("seed must be a scalar", op="seeded_noise", todo="Give one integer.")
    return TensorSpec(like.shape, like.dtype)


def _noise(seed, like):
    with np.errstate(over="ignore"):
        z = np.uint64(np.int64(seed)) * FIRST + (np.arange(1, like.size + 1).astype("uint64")) * STEP
        z = (z ^ (z >> HALF)) * FIRST
        z = z ^ (z >> HALF)
    return ((z >> SHIFT).astype("float64") / 2.0**24).astype(like.dtype).reshape(like.shape)


@kernel(
    shape=_noise_shape, shape_only=("like",), types={"seed": "int64"}, reference=_noise, differentiable=False,
    examples=lambda rng, size: [(rng.integers(-(2**60), 2**60), rng.normal(size=(size, 3))), (np.int64(0), rng.normal(size=size))],
)  # fmt: skip
def seeded_noise(seed, out):
    """out = numbers from 0 to below 1, the same for a seed, in the shape of like"""
    target, first = out.reshape(-1), np.uint64(seed[()]) * FIRST
    for i in range(target.size):
        z = first + np.uint64(i + 1) * STEP
        z = (z ^ (z >> HALF)) * FIRST
        z = z ^ (z >> HALF)
        target[i] = np.float64(np.int64(z >> SHIFT)) / 2.0**24


@kernel("(3),(3)->(3)", reference=np.cross, domain=(-2.0, 2.0))
def crossed(x, y, out):
    """out = x × y,  d_x = y × d_out,  d_y = d_out × x"""
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        out[i] = x[j] * y[k] - x[k] * y[j]


@crossed.backward
def _(d_out, x, y, d_x, d_y):
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        d_x[i] = y[j] * d_out[k] - y[k] * d_out[j]
        d_y[i] = d_out[j] * x[k] - d_out[k] * x[j]


def _segment_sums(x, ids, *, count=4):
    out = np.zeros((count,), x.dtype)
    np.add.at(out, ids, x)
    return out


def _count_shape(x, ids, *, count):
    if x.ndim != 1 or ids.shape != x.shape:
        raise ShapeError("x and ids must be vectors of one size", op="segment_sums", todo="Give one id for each element.")
    return TensorSpec((count,), x.dtype)


@kernel(
    shape=_count_shape, reference=_segment_sums, types={"ids": "int64"}, errors={1: "an id is out of range"},
    examples=lambda rng, size: [(rng.normal(size=size), rng.integers(0, n, size), {"count": n}) for n in (1, 4)],
)  # fmt: skip
def segment_sums(x, ids, out, *, count: Annotated[int, Range(1, 2**20)] = 4):
    """out[k] = Σ x[i] over the i with ids[i] = k,  d_x[i] = d_out[ids[i]]; raises KernelError"""
    out[:] = 0
    for i in range(x.size):
        if ids[i] < 0 or ids[i] >= out.size:
            return 1
        out[ids[i]] += x[i]
    return 0


@segment_sums.backward
def _(d_out, ids, d_x):
    for i in range(ids.size):
        if ids[i] < 0 or ids[i] >= d_out.size:
            return 1
        d_x[i] = d_out[ids[i]]
    return 0


def _valid_shape(x, w):
    if x.ndim != 1 or w.ndim != 1 or int(w.shape[0]) < 1 or int(w.shape[0]) > int(x.shape[0]):
        raise ShapeError("the filter must be a vector that fits into x", op="filtered", todo="Give a shorter filter.")
    return TensorSpec((x.shape[0] - w.shape[0] + 1,), x.dtype)


@kernel(
    shape=_valid_shape, reference=lambda x, w: np.correlate(x, w, "valid"),
    examples=lambda rng, size: [(rng.normal(size=size + k), rng.normal(size=k)) for k in (1, 2, 5)],
)  # fmt: skip
def filtered(x, w, out):
    """out[i] = Σ x[i + k] w[k],  d_x[i + k] += d_out[i] w[k],  d_w[k] = Σ d_out[i] x[i + k]"""
    for i in range(out.size):
        total = 0.0
        for k in range(w.size):
            total += x[i + k] * w[k]
        out[i] = total


@filtered.backward
def _(d_out, x, w, d_x, d_w):
    d_x[:] = 0
    d_w[:] = 0
    for i in range(d_out.size):
        for k in range(w.size):
            d_x[i + k] += d_out[i] * w[k]
            d_w[k] += d_out[i] * x[i + k]
