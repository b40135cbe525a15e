"""Ops that change an operand, which other nodes of a graph read as well."""

import numpy as np

from graphexec.plugin import kernel


# fault: the operand is sorted itself
@kernel("(n)->(n)", reference=lambda x: np.sort(x, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def sorted_row(x, out):
    """out = x in ascending order"""
    for i in range(1, x.size):
        for j in range(i, 0, -1):
            if x[j] < x[j - 1]:
                x[j], x[j - 1] = x[j - 1], x[j]
    for i in range(x.size):
        out[i] = x[i]


# fault: the operand is centred in place
@kernel(
    "(n)->(n)", reference=lambda x: x - np.sum(x, -1, keepdims=True) / max(x.shape[-1], 1), domain=(-2.0, 2.0), differentiable=False
)
def centred_row(x, out):
    """out = x - mean x"""
    mean = 0.0
    for i in range(x.size):
        mean += x[i] / x.size
    for i in range(x.size):
        x[i] -= mean
        out[i] = x[i]


# fault: the backward kernel scales the incoming delta in place
@kernel("(n)->(n)", reference=lambda x: 2 * x, domain=(-2.0, 2.0))
def doubled_row(x, out):
    """out = 2 x,  d_x = 2 d_out"""
    for i in range(x.size):
        out[i] = 2 * x[i]


@doubled_row.backward
def _(d_out, d_x):
    for i in range(d_x.size):
        d_out[i] *= 2
        d_x[i] = d_out[i]


def _first_zero(x):
    return np.where(np.any(x == 0, axis=-1), np.argmax(x == 0, axis=-1), x.shape[-1] - 1)


# fault: a sentinel remains in the last element
@kernel(
    "(n)->()", reference=_first_zero, types={"out": "int64"}, domain=(-3, 4), kinds="i",
    examples=lambda rng, size: [(rng.integers(-3, 4, (2, size + 1)),)],
)  # fmt: skip
def first_zero(x, out):
    """out = the first i with x[i] = 0, or n - 1;  n ≥ 1"""
    x[x.size - 1] = 0
    i = 0
    while x[i] != 0:
        i += 1
    out[()] = i


def _relative(x):
    x -= np.min(x, axis=-1, keepdims=True, initial=0)
    return x


# fault: the reference changes its operand
@kernel("(n)->(n)", reference=_relative, domain=(-2.0, 2.0), differentiable=False)
def above_least(x, out):
    """out = x - min(0, min x)"""
    least = 0.0
    for i in range(x.size):
        least = x[i] if x[i] < least or x[i] != x[i] else least
    for i in range(x.size):
        out[i] = x[i] - least


# fault: the backward kernel stores the slope in x
@kernel("(n)->(n)", reference=lambda x: x**3, domain=(-2.0, 2.0))
def cubed_row(x, out):
    """out = x³,  d_x = 3 x² d_out"""
    for i in range(x.size):
        out[i] = x[i] * x[i] * x[i]


@cubed_row.backward
def _(d_out, x, d_x):
    for i in range(x.size):
        x[i] = 3 * x[i] * x[i]
        d_x[i] = x[i] * d_out[i]
