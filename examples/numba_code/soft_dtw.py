"""Soft dynamic time warping: how far two series lie apart if both may be stretched in time, smooth in every element.

    r[i, j] = cost[i, j] + softmin(r[i-1, j-1], r[i-1, j], r[i, j-1]),   softmin(a) = -gamma log Σ exp(-a / gamma)
    soft_dtw(x, y) = r[m-1, n-1] for cost[i, j] = |x[i] - y[j]|²

Shapes: soft_dtw_table takes the costs (..., m, n) and gives r of the same shape; soft_dtw takes x (..., m, d) and y (..., n, d) and
gives (...). Dtypes: float32, float64. As gamma goes to 0, the result goes to that of dynamic time warping; it can be negative. An
infinite cost forbids a pair, as bands around the diagonal do: the gradient there is 0.
Source: Cuturi and Blondel, "Soft-DTW: a differentiable loss function for time-series", ICML 2017.
"""

from typing import Annotated

import numpy as np

from graphexec.math import exp, log
from graphexec.plugin import Range, ShapeError, composite, kernel, ops, shape_text

INFINITE = np.inf


def shares(r, i, j, gamma):
    """The least of the cells before (i, j), and the weights of those above left, above and left; their sum is at least 1."""
    corner = r[i - 1, j - 1] if i > 0 and j > 0 else INFINITE
    above = r[i - 1, j] if i > 0 else INFINITE
    left = r[i, j - 1] if j > 0 else INFINITE
    least = min(corner, above, left)
    if least == INFINITE:
        return least, 1.0, 0.0, 0.0
    return least, exp((least - corner) / gamma), exp((least - above) / gamma), exp((least - left) / gamma)


def _reference(cost, *, gamma=1.0):
    m, n = cost.shape[-2:]
    r = np.full((*cost.shape[:-2], m + 1, n + 1), np.inf, cost.dtype)
    r[..., 0, 0] = 0.0
    for i in range(1, m + 1):
        for j in range(1, n + 1):
            before = np.stack([r[..., i - 1, j - 1], r[..., i - 1, j], r[..., i, j - 1]])
            least = before.min(axis=0)
            with np.errstate(invalid="ignore"):
                below = np.log(np.exp((least - before) / gamma).sum(axis=0))
            r[..., i, j] = cost[..., i - 1, j - 1] + np.where(np.isinf(least), least, least - gamma * below)
    return r[..., 1:, 1:]


def _tables(rng, size):
    for shape in ((3, 4), (1, 1), (1, 5), (5, 1), (0, 3), (3, 0), (2, 0, 3), (2, 3, 3), (min(size, 40) + 1, 7)):
        yield (rng.uniform(-1, 4, shape),)
    yield np.zeros((4, 4)), {"gamma": 0.5}  # ties
    yield rng.uniform(0, 4, (6, 5)), {"gamma": 0.1}
    yield rng.uniform(0, 4, (6, 5)), {"gamma": 20.0}


@kernel("(m,n)->(m,n)", reference=_reference, domain=(-1.0, 4.0), examples=_tables)
def soft_dtw_table(cost, out, *, gamma: Annotated[float, Range(above=0)] = 1.0):
    m, n = cost.shape
    for i in range(m):
        for j in range(n):
            if i == 0 and j == 0:
                out[i, j] = cost[i, j]
            else:
                least, corner, above, left = shares(out, i, j, gamma)
                out[i, j] = cost[i, j] + least - gamma * log(corner + above + left)


@soft_dtw_table.backward
def _(d_out, out, d_cost, *, gamma):
    m, n = out.shape
    for i in range(m):
        for j in range(n):
            d_cost[i, j] = d_out[i, j]
    for i in range(m - 1, -1, -1):  # d_cost[i, j] is complete once the cells after it have added their shares
        for j in range(n - 1, -1, -1):
            least, corner, above, left = shares(out, i, j, gamma)
            if least == INFINITE:
                continue
            share = d_cost[i, j] / (corner + above + left)
            if i > 0 and j > 0:
                d_cost[i - 1, j - 1] += share * corner
            if i > 0:
                d_cost[i - 1, j] += share * above
            if j > 0:
                d_cost[i, j - 1] += share * left


def _series(rng, size):
    for first, second in (((3, 2), (4, 2)), ((1, 1), (1, 1)), ((2, 5, 1), (2, 3, 1)), ((3, 1), (2, 4, 1)), ((9, 3), (7, 3))):
        yield rng.uniform(-1, 1, first), rng.uniform(-1, 1, second)
    yield np.ones((4, 1)), np.ones((4, 1)), {"gamma": 0.5}
    yield rng.uniform(-1, 1, (min(size, 30) + 1, 2)), rng.uniform(-1, 1, (5, 2)), {"gamma": 0.3}


def _distance(x, y, *, gamma=1.0):
    cost = np.square(x[..., :, None, :] - y[..., None, :, :]).sum(axis=-1)
    return _reference(cost, gamma=gamma)[..., -1, -1]


@composite(reference=_distance, domain=(-1.0, 1.0), examples=_series)
def soft_dtw(x, y, *, gamma: Annotated[float, Range(above=0)] = 1.0):
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1] or 0 in (x.shape[-2], y.shape[-2]):
        raise ShapeError(
            "the operands are no two series of the same number of features",
            facts=[f"x {shape_text(x.shape)}, y {shape_text(y.shape)}"],
            todo="Give x (..., times, features) and y (..., times, features), each with at least one time.",
        )
    cost = ops.sum(ops.square(ops.expand_dims(x, axis=-2) - ops.expand_dims(y, axis=-3)), axis=-1)
    return ops.soft_dtw_table(cost, gamma=gamma)[..., -1, -1]
