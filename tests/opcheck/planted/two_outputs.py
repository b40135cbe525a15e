"""Ops of two outputs, one of which is wrong, or whose delta is ignored."""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise, kernel, ops


# fault: the outputs are swapped
@kernel(
    "(n)->(),()", reference=lambda x: (np.min(x, axis=-1, initial=9), np.max(x, axis=-1, initial=-9)), domain=(-2.0, 2.0),
    differentiable=False,
)  # fmt: skip
def row_range(x, low, high):
    """low = min(9, min x),  high = max(-9, max x)"""
    least, most = 9.0, -9.0
    for i in range(x.size):
        least = x[i] if x[i] < least or x[i] != x[i] else least
        most = x[i] if x[i] > most or x[i] != x[i] else most
    low[()] = most
    high[()] = least


# fault: the delta of the second output is not used
@elementwise(reference=lambda x, y: (x + y, x - y), outputs=("total", "gap"), domain=(-2.0, 2.0))
def total_and_gap(x, y):
    """total = x + y,  gap = x - y;  d_x = d_total + d_gap,  d_y = d_total - d_gap"""
    return x + y, x - y


@total_and_gap.backward
def _(d_total, d_gap):
    return d_total, d_total


# fault: the index has the type of the elements
@kernel(
    "(n)->(),()", reference=lambda x: (np.max(x, axis=-1), np.argmax(x, axis=-1)), domain=(-2.0, 2.0), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=(2, size + 1)),)],
)  # fmt: skip
def top_and_place(x, top, place):
    """top = max x,  place = the first i with x[i] = top, an int64;  n ≥ 1"""
    best = 0
    for i in range(1, x.size):
        if x[i] > x[best] or (x[i] != x[i] and x[best] == x[best]):
            best = i
    top[()] = x[best]
    place[()] = best


# fault: the whole part of a negative number is rounded down, and the rest does not match it
@elementwise(
    reference=lambda x: (np.trunc(x), x - np.trunc(x)), outputs=("whole", "rest"), domain=(-4.0, 4.0), differentiable=False
)
def split_number(x):
    """whole = x rounded towards 0,  rest = x - whole"""
    return np.floor(x), x - np.trunc(x)


# fault: the rule multiplies the delta of the second output by the slope of the first
@elementwise(reference=lambda x: (np.sinh(x), np.cosh(x)), outputs=("sine", "cosine"), domain=(-3.0, 3.0))
def on_hyperbola(x):
    """sine = sinh x,  cosine = cosh x;  d_x = d_sine cosine + d_cosine sine"""
    return math.sinh(x), math.cosh(x)


@on_hyperbola.backward
def _(d_sine, d_cosine, sine, cosine):
    return d_sine * cosine + d_cosine * cosine


# fault: the gradient rule leaves the second output out
@kernel("(n)->(n),()", reference=lambda x: (2 * x, np.sum(x * x, axis=-1)), domain=(-2.0, 2.0))
def doubled_and_energy(x, twice, energy):
    """twice = 2 x,  energy = Σ x²;  d_x = 2 d_twice + 2 x d_energy"""
    total = 0.0
    for i in range(x.size):
        twice[i] = 2 * x[i]
        total += x[i] * x[i]
    energy[()] = total


@doubled_and_energy.gradient
def _(d_twice, d_energy, x):
    return 2 * d_twice + 0 * x * ops.expand_dims(d_energy, axis=-1)
