"""Ops that are right almost everywhere, and wrong at zeros, ties, NaN, infinities or rows of equal elements."""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise, kernel


# fault: the sign of 0 is 1
@elementwise(reference=np.sign, domain=(-2.0, 2.0), differentiable=False)
def sign_of(x):
    """out = 1, 0 or -1, as x is above, at or below 0; NaN for NaN"""
    return x if x != x else (1.0 if x >= 0 else -1.0)


# fault: a NaN in x is dropped
@elementwise(reference=np.maximum, domain=(-2.0, 2.0), differentiable=False)
def larger_of(x, y):
    """out = max(x, y); NaN if one is NaN"""
    return x if x > y else y


# fault: at 0 it is 0 instead of one half
@elementwise(reference=lambda x: np.heaviside(x, 0.5), domain=(-2.0, 2.0), differentiable=False)
def step_at_zero(x):
    """out = 0 below 0, 1 above, 1/2 at 0; NaN for NaN"""
    return x if x != x else (1.0 if x > 0 else 0.0)


# fault: 0 / 0 at 0
@elementwise(reference=lambda x: np.sinc(x / np.pi), domain=(-3.0, 3.0), differentiable=False)
def sine_ratio(x):
    """out = sin x / x, and 1 at 0"""
    return math.sin(x) / x


# fault: 0 log 0 is NaN instead of 0
@elementwise(reference=lambda x: x * np.log(np.where(x == 0, 1, x)), domain=(0.0, 4.0), differentiable=False)
def entropy_term(x):
    """out = x log x, and 0 at 0"""
    return x * math.log(x)


@np.errstate(all="ignore")
def _standardized(x):
    centred = x - np.mean(x, axis=-1, keepdims=True)
    deviation = np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True))
    return np.where(deviation == 0, 0, centred / np.where(deviation == 0, 1, deviation))


# fault: a row of equal elements gives NaN
@kernel("(n)->(n)", reference=_standardized, domain=(-2.0, 2.0), differentiable=False)
def standardized(x, out):
    """out = (x - mean) / deviation, and 0 in a row of equal elements"""
    mean, squares = 0.0, 0.0
    for i in range(x.size):
        mean += x[i] / x.size
    for i in range(x.size):
        squares += (x[i] - mean) ** 2 / x.size
    for i in range(x.size):
        out[i] = (x[i] - mean) / np.sqrt(squares)


# fault: the sign of -0 is taken for positive
@elementwise(reference=lambda x: np.copysign(1, x), domain=(-2.0, 2.0), differentiable=False)
def sign_bit(x):
    """out = 1 with the sign of x, also of zeros; any sign for NaN"""
    return -1.0 if x < 0 else 1.0


# fault: 0 / 0 at 1
@elementwise(reference=lambda x: x + 1, domain=(-2.0, 2.0), differentiable=False)
def ratio_at_one(x):
    """out = (x² - 1) / (x - 1), which is x + 1 also at 1"""
    return (x * x - 1) / (x - 1)


# fault: among equal elements the last wins
@kernel(
    "(n)->()", reference=lambda x: np.argmax(x, axis=-1), domain=(-2.0, 2.0), types={"out": "int64"}, differentiable=False,
    kinds="fi", examples=lambda rng, size: [(rng.integers(0, 3, (2, size + 1)).astype("float64"),)],
)  # fmt: skip
def top_index(x, out):
    """out = the first i at which x is largest;  n ≥ 1; a NaN counts as largest"""
    best = 0
    for i in range(1, x.size):
        if (x[i] >= x[best] and x[best] == x[best]) or (x[i] != x[i] and x[best] == x[best]):
            best = i
    out[()] = best


# fault: inf / inf at the infinities
@elementwise(reference=lambda x: np.sign(x) * (1 - 1 / (1 + np.abs(x))), domain=(-4.0, 4.0))
def soft_sign(x):
    """out = x / (1 + |x|), and ±1 at ±inf;  d_x = d_out / (1 + |x|)²"""
    return x / (1 + abs(x))


# fault: comparisons skip a NaN in the row
@kernel("(n)->()", reference=lambda x: np.min(x, axis=-1, initial=np.inf), domain=(-2.0, 2.0), differentiable=False)
def smallest_in_row(x, out):
    """out = min x; NaN if one is NaN; inf for no elements"""
    least = np.inf
    for i in range(x.size):
        if x[i] < least:
            least = x[i]
    out[()] = least


# fault: the bound itself is cut off to 0
@elementwise(reference=lambda x: np.where(np.abs(x) <= 1, x, 0 * x), domain=(-2.0, 2.0), differentiable=False)
def within_one(x):
    """out = x from -1 to 1, bounds included, else 0"""
    return x if abs(x) < 1 or x != x else 0 * x
