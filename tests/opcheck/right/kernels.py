"""Right array kernels: borders, two outputs, shares of the work, scratch memory, statuses, strides, decompositions."""

from typing import Annotated, Literal

import numpy as np

from graphexec import math
from graphexec.plugin import Range, ShapeError, TensorSpec, array_at, kernel, normalize_axes, ops


@kernel("(n)->(n)", reference=lambda x: np.diff(x, axis=-1, prepend=0), domain=(-2.0, 2.0))
def changes(x, out):
    """out[0] = x[0],  out[i] = x[i] - x[i - 1];  d_x[i] = d_out[i] - d_out[i + 1]"""
    for i in range(x.size):
        out[i] = x[i] - (x[i - 1] if i > 0 else 0.0)


@changes.backward
def _(d_out, d_x):
    n = d_x.size
    for i in range(n):
        d_x[i] = d_out[i] - (d_out[i + 1] if i + 1 < n else 0.0)


@kernel("(n)->(),(n)", reference=lambda x: (np.sum(x, axis=-1), x * x), domain=(-2.0, 2.0))
def total_and_squares(x, total, squares):
    """total = Σ x,  squares = x²;  d_x = d_total + 2 x d_squares"""
    added = 0.0
    for i in range(x.size):
        added += x[i]
        squares[i] = x[i] * x[i]
    total[()] = added


@total_and_squares.backward
def _(d_total, d_squares, x, d_x):
    for i in range(x.size):
        d_x[i] = d_total[()] + 2 * x[i] * d_squares[i]


def _row_shape(x, b):
    if x.ndim != 2 or b.ndim != 1 or b.shape[0] != x.shape[1]:
        raise ShapeError("x must be a matrix and b have one element per column", op="columns_scaled", todo="Reshape them.")
    return x.shape


@kernel(
    shape=_row_shape, reference=lambda x, b: x * b, parallel=True, domain=(-2.0, 2.0),
    examples=lambda rng, size: [(rng.normal(size=(m, n)), rng.normal(size=n)) for m, n in ((size, 3), (2, size), (67, 2))],
)  # fmt: skip
def columns_scaled(x, b, out, piece, pieces):
    """out[i, j] = x[i, j] b[j],  d_x = d_out b,  d_b[j] = Σᵢ d_out[i, j] x[i, j]"""
    rows, columns = x.shape
    for i in range(rows * piece // pieces, rows * (piece + 1) // pieces):
        for j in range(columns):
            out[i, j] = x[i, j] * b[j]


@columns_scaled.backward
def _(d_out, x, b, d_x, d_b, piece, pieces):
    rows, columns = x.shape
    for j in range(columns * piece // pieces, columns * (piece + 1) // pieces):  # a column belongs to one piece
        total = 0.0
        for i in range(rows):
            d_x[i, j] = d_out[i, j] * b[j]
            total += d_out[i, j] * x[i, j]
        d_b[j] = total


@kernel(
    "(n)->(n)", reference=lambda x: np.sum(x[..., :, None] == x[..., None, :], axis=-1), kinds="i", types={"out": "int64"},
    scratch=128, errors={1: "a number is not from 0 to 15"}, domain=(0, 15),
)  # fmt: skip
def how_often(x, out, scratch):
    """out[i] = how often x[i] occurs in its row, for numbers from 0 to 15; raises KernelError"""
    counts = array_at(scratch, 16, out)
    counts[:] = 0
    for i in range(x.size):
        if x[i] < 0 or x[i] > 15:
            return 1
        counts[x[i]] += 1
    for i in range(x.size):
        out[i] = counts[x[i]]
    return 0


def _matrix(x):
    if x.ndim != 2:
        raise ShapeError(f"x has {x.ndim} axes", op="plus_row_number", todo="Give it 2.")
    return x.shape


@kernel(
    shape=_matrix, strided=("x",), reference=lambda x: x + np.arange(x.shape[0]).reshape(-1, 1).astype(x.dtype),
    examples=lambda rng, size: [
        (rng.normal(size=(size, 3)),), (rng.normal(size=(3, size)).T,), (rng.normal(size=(size, 4))[::-1],),
    ],
)  # fmt: skip
def plus_row_number(x, out):
    """out[i, j] = x[i, j] + i,  d_x = d_out"""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] + i


@plus_row_number.backward
def _(d_out, d_x):
    for i in range(d_x.shape[0]):
        for j in range(d_x.shape[1]):
            d_x[i, j] = d_out[i, j]


@np.errstate(all="ignore")
def _tempered(x, *, heat=1.0):
    e = np.exp((x - np.max(x, axis=-1, keepdims=True, initial=-np.inf)) / heat)
    return e / np.sum(e, axis=-1, keepdims=True)


@kernel("(n)->(n)", reference=_tempered, domain=(-3.0, 3.0))
def tempered(x, out, *, heat: Annotated[float, Range(0.1, 100)] = 1.0):
    """out = softmax(x / heat),  d_x = out (d_out - Σ d_out out) / heat"""
    top, total = -np.inf, 0.0
    for i in range(x.size):
        top = x[i] if x[i] > top else top
    for i in range(x.size):
        out[i] = math.exp((x[i] - top) / heat)
        total += out[i]
    for i in range(x.size):
        out[i] /= total


@tempered.decomposition
def _(x, *, heat):
    e = ops.exp((x - ops.supremum(x, axis=-1, keepdims=True)) / heat)
    return e / ops.sum(e, axis=-1, keepdims=True)


@tempered.gradient
def _(d_out, out, *, heat):
    return out * (d_out - ops.sum(d_out * out, axis=-1, keepdims=True)) / heat


def _bordered(x, *, border="zero"):
    mode = {"zero": "constant", "edge": "edge"}[border]
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(1, 1)], mode=mode)


def _bordered_shape(x, *, border):
    if x.ndim < 1 or (border == "edge" and int(x.shape[-1]) == 0):
        raise ShapeError("there is no edge to repeat", op="bordered", todo="Give the last axis an element.")
    return TensorSpec((*x.shape[:-1], x.shape[-1] + 2), x.dtype)


@kernel(
    shape=_bordered_shape, reference=_bordered, domain=(-2.0, 2.0),
    examples=lambda rng, size: [
        (rng.normal(size=(*lead, size + 1)), {"border": border}) for lead in ((), (2, 3)) for border in ("zero", "edge")
    ],
)  # fmt: skip
def bordered(x, out, *, border: Literal["zero", "edge"] = "zero"):
    """out = x with one element more at both ends of the last axis: 0, or the last one again"""
    n = x.shape[x.ndim - 1]
    source, target = x.reshape(-1), out.reshape(-1)
    for row in range(target.size // (n + 2)):
        at, to = row * n, row * (n + 2)
        target[to] = source[at] if border == "edge" else 0.0
        target[to + n + 1] = source[at + n - 1] if border == "edge" else 0.0
        for i in range(n):
            target[to + 1 + i] = source[at + i]


@bordered.backward
def _(d_out, d_x, *, border):
    n = d_x.shape[d_x.ndim - 1]
    source, target = d_out.reshape(-1), d_x.reshape(-1)
    for row in range(source.size // (n + 2)):
        at, to = row * (n + 2), row * n
        for i in range(n):
            target[to + i] = source[at + 1 + i]
        if border == "edge":
            target[to] += source[at]
            target[to + n - 1] += source[at + n + 1]


def _any_shape(x, *, axis):
    normalize_axes(axis, x.ndim, "mirrored_along")
    return x.shape


@kernel(
    shape=_any_shape, reference=lambda x, *, axis=0: np.flip(x, axis), domain=(-4, 4), kinds="fib",
    examples=lambda rng, size: [(rng.normal(size=(2, size, 3)), {"axis": a}) for a in (0, 1, 2, -1, -2, -3)],
)  # fmt: skip
def mirrored_along(x, out, *, axis=0):
    """out = x in reverse order along axis,  d_x = the same of d_out"""
    along = axis % x.ndim
    outer, inner = 1, 1
    for a in range(along):
        outer *= x.shape[a]
    for a in range(along + 1, x.ndim):
        inner *= x.shape[a]
    n, source, target = x.shape[along], x.reshape(-1), out.reshape(-1)
    for o in range(outer):
        for i in range(n):
            for j in range(inner):
                target[(o * n + i) * inner + j] = source[(o * n + n - 1 - i) * inner + j]


@mirrored_along.gradient
def _(d_out, *, axis):
    return ops.mirrored_along(d_out, axis=axis)


def _joined_shape(*parts):
    if any(p.ndim != 1 for p in parts):
        raise ShapeError("parts must be vectors", op="end_to_end", todo="Flatten them.")
    return TensorSpec((sum((p.shape[0] for p in parts[1:]), parts[0].shape[0]),), parts[0].dtype)


@kernel(
    shape=_joined_shape, reference=lambda *parts: np.concatenate(parts),
    examples=lambda rng, size: [tuple(rng.normal(size=size + k) for k in range(count)) for count in (1, 2, 3)],
)  # fmt: skip
def end_to_end(*parts):
    """out = the elements of all parts, one part after the other"""
    out, at = parts[-1], 0
    for k in range(len(parts) - 1):
        part = parts[k]
        for i in range(part.size):
            out[at + i] = part[i]
        at += part.size


@end_to_end.gradient
def _(d_out, *parts):
    deltas = []
    for part in parts:
        deltas.append(ops.head_like(d_out, part, axis=0))
        d_out = ops.tail_like(d_out, part, axis=0)
    return deltas
