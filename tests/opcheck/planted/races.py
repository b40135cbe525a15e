"""Parallel kernels that divide their work wrongly: they are right on one thread, or seem so."""

import numpy as np

from graphexec.plugin import kernel


def _same(x, **_):
    return x.shape


def _totals(x):
    return x.shape[1:]


def _matrix(rng, size):
    yield (rng.normal(size=(size, 3)),)
    yield (rng.normal(size=(2 * size + 1, 2)),)


# fault: n // pieces elements each: the rest of the division is never written
@kernel(shape=_same, reference=lambda x: 2 * x, domain=(-2.0, 2.0), parallel=True, differentiable=False)
def chunked_double(x, out, piece, pieces):
    """out = 2 x"""
    source, target = x.reshape(-1), out.reshape(-1)
    chunk = source.size // pieces
    for i in range(piece * chunk, (piece + 1) * chunk):
        target[i] = 2 * source[i]


# fault: it counts on two pieces
@kernel(shape=_same, reference=lambda x: x + 1, domain=(-2.0, 2.0), parallel=True, differentiable=False)
def halved_work(x, out, piece, pieces):
    """out = x + 1"""
    source, target = x.reshape(-1), out.reshape(-1)
    half = source.size // 2
    first, last = (0, half) if piece == 0 else (half, source.size)
    for i in range(first, last):
        target[i] = source[i] + 1


# fault: every piece adds its rows to the same totals, which piece 0 clears when it likes
@kernel(shape=_totals, reference=lambda x: np.sum(x, axis=0), examples=_matrix, parallel=True, differentiable=False)
def column_totals(x, out, piece, pieces):
    """out[j] = Σᵢ x[i, j]"""
    rows, columns = x.shape
    if piece == 0:
        out[:] = 0
    for i in range(rows * piece // pieces, rows * (piece + 1) // pieces):
        for j in range(columns):
            out[j] += x[i, j]


def _centred(x):
    return x - (np.mean(x) if x.size else 0)


# fault: the mean is that of the piece
@kernel(shape=_same, reference=_centred, domain=(-2.0, 2.0), parallel=True, differentiable=False)
def centred_by_piece(x, out, piece, pieces):
    """out = x - mean of all elements"""
    source, target = x.reshape(-1), out.reshape(-1)
    first, last = source.size * piece // pieces, source.size * (piece + 1) // pieces
    total = 0.0
    for i in range(first, last):
        total += source[i]
    for i in range(first, last):
        target[i] = source[i] - total / (last - first)


def _spread(x):
    out = 0.5 * x
    out.reshape(-1)[1:] += 0.5 * x.reshape(-1)[:-1]
    return out


# fault: the last element of a piece adds to the first of the next piece, which may not have been set yet
@kernel(shape=_same, reference=_spread, domain=(-2.0, 2.0), parallel=True, differentiable=False)
def spread_right(x, out, piece, pieces):
    """out[i] = (x[i] + x[i - 1]) / 2, counted through all elements, with 0 before the first"""
    source, target = x.reshape(-1), out.reshape(-1)
    first, last = source.size * piece // pieces, source.size * (piece + 1) // pieces
    for i in range(first, last):
        target[i] = 0.5 * source[i]
    for i in range(first, min(last, source.size - 1)):
        target[i + 1] += 0.5 * source[i]


# fault: the pieces read the first element of out, which piece 0 writes
@kernel(
    shape=_same, reference=lambda x: x + np.cos(x.reshape(-1)[:1]), domain=(-2.0, 2.0), parallel=True, differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=size),)],
)  # fmt: skip
def shifted_by_first(x, out, piece, pieces):
    """out = x + cos x[0]"""
    if piece == 0 and x.size > 0:
        out[0] = np.cos(x[0])
    for i in range(max(x.size * piece // pieces, 1), x.size * (piece + 1) // pieces):
        out[i] = x[i] + out[0]
    if piece == pieces - 1 and x.size > 0:
        out[0] += x[0]


# fault: each piece stops one element before its end
@kernel(shape=_same, reference=np.negative, domain=(-2.0, 2.0), parallel=True, differentiable=False)
def negated_by_pieces(x, out, piece, pieces):
    """out = -x"""
    source, target = x.reshape(-1), out.reshape(-1)
    first, last = source.size * piece // pieces, source.size * (piece + 1) // pieces
    for i in range(first, last if piece == pieces - 1 else last - 1):
        target[i] = -source[i]


# fault: rounded up, the chunks of the last pieces lie beyond the end
@kernel(shape=_same, reference=lambda x: x / 2, domain=(-2.0, 2.0), parallel=True, differentiable=False)
def rounded_up_chunks(x, out, piece, pieces):
    """out = x / 2"""
    source, target = x.reshape(-1), out.reshape(-1)
    chunk = (source.size + pieces - 1) // pieces
    for i in range(piece * chunk, (piece + 1) * chunk):
        target[i] = source[i] / 2


# fault: in the backward kernel, every piece writes the delta of b from its own rows alone
@kernel(
    shape=lambda x, b: x.shape, reference=lambda x, b: x * b, parallel=True, domain=(-2.0, 2.0),
    examples=lambda rng, size: [(rng.normal(size=(size, 3)), rng.normal(size=3)), (rng.normal(size=(9, 2)), rng.normal(size=2))],
)  # fmt: skip
def scaled_columns(x, b, out, piece, pieces):
    """out[i, j] = x[i, j] b[j],  d_x = d_out b,  d_b[j] = Σᵢ d_out[i, j] x[i, j]"""
    rows, columns = x.shape
    for i in range(rows * piece // pieces, rows * (piece + 1) // pieces):
        for j in range(columns):
            out[i, j] = x[i, j] * b[j]


@scaled_columns.backward
def _(d_out, x, b, d_x, d_b, piece, pieces):
    rows, columns = x.shape
    d_b[:] = 0
    for i in range(rows * piece // pieces, rows * (piece + 1) // pieces):
        for j in range(columns):
            d_x[i, j] = d_out[i, j] * b[j]
            d_b[j] += d_out[i, j] * x[i, j]
