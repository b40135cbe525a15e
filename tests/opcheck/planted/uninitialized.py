"""Kernels that read an output or scratch memory before they write it."""

import numpy as np

from graphexec.plugin import array_at, kernel


# fault: the sums start from what out holds
@kernel("(m,n)->(n)", reference=lambda x: np.sum(x, axis=-2), domain=(-2.0, 2.0), differentiable=False)
def column_sums(x, out):
    """out[j] = Σᵢ x[i, j]"""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[j] += x[i, j]


# fault: the counts in scratch memory are not cleared first
@kernel(
    "(n)->(n)", reference=lambda x: np.sum(x[..., :, None] == x[..., None, :], axis=-1), kinds="i", domain=(0, 3),
    types={"out": "int64"}, scratch=128,
    examples=lambda rng, size: [(rng.integers(0, 16, size),), (rng.integers(0, 16, (2, size)),)],
)  # fmt: skip
def occurrences(x, out, scratch):
    """out[i] = how often x[i] occurs in its row, for numbers from 0 to 15"""
    counts = array_at(scratch, 16, out)
    for i in range(x.size):
        counts[x[i]] += 1
    for i in range(x.size):
        out[i] = counts[x[i]]


# fault: the deltas of a repeated operand are added to what d_x holds
@kernel("(n),(m)->(n,m)", reference=lambda x, y: x[..., :, None] * y[..., None, :], domain=(-2.0, 2.0))
def product_table(x, y, out):
    """out[i, j] = x[i] y[j],  d_x[i] = Σⱼ d_out[i, j] y[j],  d_y[j] = Σᵢ d_out[i, j] x[i]"""
    for i in range(x.size):
        for j in range(y.size):
            out[i, j] = x[i] * y[j]


@product_table.backward
def _(d_out, x, y, d_x, d_y):
    d_y[:] = 0
    for i in range(x.size):
        for j in range(y.size):
            d_x[i] += d_out[i, j] * y[j]
            d_y[j] += d_out[i, j] * x[i]


# fault: the first maximum is taken from out itself
@kernel("(n)->(n)", reference=lambda x: np.maximum.accumulate(x, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def running_maximum(x, out):
    """out[i] = max x[0 ... i]"""
    for i in range(x.size):
        top = out[i - 1] if i > 0 else out[0]
        out[i] = x[i] if x[i] > top or x[i] != x[i] else top


# fault: the carry in scratch memory is taken for 0 in the first call
@kernel("(n)->(n)", reference=lambda x: np.cumsum(x, axis=-1), domain=(-2.0, 2.0), scratch=8, differentiable=False)
def carried_sum(x, out, scratch):
    """out[i] = Σ x[0 ... i]"""
    carry = array_at(scratch, 1, x)
    for i in range(x.size):
        carry[0] += x[i]
        out[i] = carry[0]
