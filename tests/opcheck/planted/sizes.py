"""Kernels that are wrong for some sizes of an axis: the smallest ones, odd tails, and those beyond a block."""

import numpy as np

from graphexec.plugin import kernel


# fault: elements after the last whole block of 8 are not added
@kernel("(n)->()", reference=lambda x: np.sum(x, axis=-1), domain=(-2.0, 2.0))
def block_sum(x, out):
    """out = Σ x,  d_x = d_out"""
    total = 0.0
    for block in range(x.size // 8):
        for i in range(8):
            total += x[8 * block + i]
    if x.size < 8:
        for i in range(x.size):
            total += x[i]
    out[()] = total


@block_sum.backward
def _(d_out, d_x):
    for i in range(d_x.size):
        d_x[i] = d_out[()]


# fault: at most 1000 elements are looked at
@kernel("(n)->()", reference=lambda x: np.sum(np.abs(x), axis=-1), domain=(-2.0, 2.0), differentiable=False)
def absolute_sum(x, out):
    """out = Σ |x|"""
    total = 0.0
    for i in range(min(x.size, 1000)):
        total += abs(x[i])
    out[()] = total


# fault: the running total starts again after 64 elements
@kernel("(n)->(n)", reference=lambda x: np.cumsum(x, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def wide_cumulative(x, out):
    """out[i] = Σ x[0 ... i]"""
    for start in range(0, x.size, 64):
        total = 0.0
        for i in range(start, min(start + 64, x.size)):
            total += x[i]
            out[i] = total


# fault: a row of one element gives 0 instead of the element
@kernel("(n)->(n)", reference=lambda x: np.diff(x, axis=-1, prepend=0), domain=(-2.0, 2.0), differentiable=False)
def steps_from_zero(x, out):
    """out[0] = x[0],  out[i] = x[i] - x[i - 1]"""
    if x.size == 1:
        out[0] = 0
        return
    for i in range(x.size):
        out[i] = x[i] - (x[i - 1] if i > 0 else 0.0)


def _median(x):
    return np.median(x, axis=-1)


# fault: the median of an even number of elements is the lower of the middle two
@kernel(
    "(n)->()", reference=_median, domain=(-2.0, 2.0), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=(2, size + 1)),)],
)  # fmt: skip
def row_median(x, out):
    """out = the median of x, of two middle elements their mean;  n ≥ 1"""
    middle = (x.size - 1) // 2
    for i in range(x.size):
        below = 0
        for j in range(x.size):
            below += 1 if x[j] < x[i] or (x[j] == x[i] and j < i) else 0
        if below == middle:
            out[()] = x[i]


def _mean_or_zero(x):
    return np.sum(x, axis=-1) / max(x.shape[-1], 1)


# fault: no elements give 0 / 0
@kernel("(n)->()", reference=_mean_or_zero, domain=(-2.0, 2.0), differentiable=False)
def mean_or_zero(x, out):
    """out = Σ x / n, and 0 for no elements"""
    total = 0.0
    for i in range(x.size):
        total += x[i]
    out[()] = total / np.float64(x.size)


# fault: the last element of an odd row takes no part
@kernel(
    "(n)->()", reference=lambda x: np.max(x, axis=-1, initial=0), domain=(-2.0, 2.0), differentiable=False,
)  # fmt: skip
def peak_by_pairs(x, out):
    """out = max(0, max x)"""
    top = 0.0 * x.sum()  # a NaN stays one
    for i in range(0, x.size - 1, 2):
        larger = max(x[i], x[i + 1])
        top = larger if larger > top else top
    if x.size == 1:
        top = max(top, x[0])
    out[()] = top


# fault: the tail after the blocks of 16 multiplies x by itself
@kernel("(n),(n)->()", reference=lambda x, y: np.sum(x * y, axis=-1), domain=(-2.0, 2.0))
def unrolled_dot(x, y, out):
    """out = Σ x y,  d_x = y d_out,  d_y = x d_out"""
    whole = x.size // 16 * 16
    even, odd = 0.0, 0.0
    for i in range(0, whole, 2):
        even += x[i] * y[i]
        odd += x[i + 1] * y[i + 1]
    if whole == 0:
        for i in range(x.size):
            even += x[i] * y[i]
    else:
        for i in range(whole, x.size):
            even += x[i] * x[i]
    out[()] = even + odd


@unrolled_dot.backward
def _(d_out, x, y, d_x, d_y):
    for i in range(x.size):
        d_x[i] = d_out[()] * y[i]
        d_y[i] = d_out[()] * x[i]


def _smoothed(x):
    n = x.shape[-1]
    left, right = x[..., np.maximum(np.arange(n) - 1, 0)], x[..., np.minimum(np.arange(n) + 1, n - 1)]
    return (left + x + right) / 3


# fault: with two elements, the right border takes the left one for its neighbour on both sides
@kernel("(n)->(n)", reference=_smoothed, domain=(-2.0, 2.0), differentiable=False)
def smoothed(x, out):
    """out[i] = (x[i - 1] + x[i] + x[i + 1]) / 3, borders repeated"""
    n = x.size
    for i in range(n):
        left = x[i - 1] if i > 0 else x[0]
        right = x[i + 1] if i + 1 < n else x[i] if n != 2 else x[0]
        out[i] = (left + x[i] + right) / 3


# fault: the backward kernel leaves out the third element of a row of three
@kernel("(n)->(n)", reference=lambda x: x * np.abs(x), domain=(0.5, 2.0))
def signed_square(x, out):
    """out = x |x|,  d_x = 2 |x| d_out"""
    for i in range(x.size):
        out[i] = x[i] * abs(x[i])


@signed_square.backward
def _(d_out, x, d_x):
    for i in range(x.size):
        d_x[i] = 2 * abs(x[i]) * d_out[i]
    if x.size == 3:
        d_x[2] = 0
