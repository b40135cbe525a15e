"""Ops that are right in exact arithmetic, and overflow, cancel or lose digits in floating point."""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise, kernel


def _softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True, initial=-np.inf))
    return e / np.sum(e, axis=-1, keepdims=True)


# fault: the exponentials overflow
@kernel("(n)->(n)", reference=_softmax, domain=(-4.0, 4.0), differentiable=False)
def plain_softmax(x, out):
    """out = eˣ / Σ eˣ"""
    total = 0.0
    for i in range(x.size):
        out[i] = math.exp(x[i])
        total += out[i]
    for i in range(x.size):
        out[i] /= total


# fault: the exponential overflows, and small values have no digit left
@elementwise(reference=lambda x: np.logaddexp(x, 0), domain=(-6.0, 6.0))
def plain_softplus(x):
    """out = log(1 + eˣ)"""
    return math.log(1 + math.exp(x))


# fault: E[x²] - E[x]² cancels far from 0
@kernel(
    "(n)->()", reference=lambda x: np.var(x, axis=-1), domain=(-2.0, 2.0), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=size + 1) + shift,) for shift in (0.0, 1e4)],
)  # fmt: skip
def plain_variance(x, out):
    """out = Σ (x - mean)² / n;  n ≥ 1"""
    total, squares = x[0] * 0, x[0] * 0
    for i in range(x.size):
        total += x[i]
        squares += x[i] * x[i]
    mean = total / x.dtype.type(x.size)
    out[()] = squares / x.dtype.type(x.size) - mean * mean


# fault: near 0 the difference has no digit left
@elementwise(reference=np.expm1, domain=(-2.0, 2.0))
def growth(x):
    """out = eˣ - 1"""
    return math.exp(x) - 1


# fault: the sigmoid underflows before its logarithm is taken
@elementwise(reference=lambda x: -np.logaddexp(0, -x), domain=(-6.0, 6.0))
def log_sigmoid(x):
    """out = log σ(x) = -log(1 + e⁻ˣ)"""
    return math.log(math.sigmoid(x))


@np.errstate(all="ignore")
def _norm(x):
    scale = np.max(np.abs(x), axis=-1, initial=0)
    safe = np.where((scale == 0) | np.isinf(scale), 1, scale)
    return safe * np.sqrt(np.sum((x / safe[..., None]) ** 2, axis=-1))


# fault: the squares overflow and underflow in float32
@kernel("(n)->()", reference=_norm, domain=(-2.0, 2.0), differentiable=False)
def plain_norm(x, out):
    """out = √Σ x², without overflow where the result is finite"""
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] * x[i]
    out[()] = np.sqrt(total)


# fault: a long row is added one by one in the type of its elements
@kernel(
    "(n)->()", reference=lambda x: np.sum(x, axis=-1, dtype="float64").astype(x.dtype), domain=(0.0, 1.0), differentiable=False,
    examples=lambda rng, size: [(rng.uniform(0, 1, 50 * size),), (rng.uniform(0, 1, 200_000),)],
)  # fmt: skip
def naive_sum(x, out):
    """out = Σ x; the error is a few roundings, however many elements there are"""
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    out[()] = total


# fault: the slope is inf / inf where the exponential overflows
@elementwise(reference=lambda x: 0.5 * (1 + np.tanh(0.5 * x)), domain=(-5.0, 5.0))
def logistic_curve(x):
    """out = 1 / (1 + e⁻ˣ),  d_x = out (1 - out) d_out"""
    return math.sigmoid(x)


@logistic_curve.backward
def _(d_out, x):
    e = math.exp(x)
    return d_out * e / ((1 + e) * (1 + e))


# fault: the difference of two roots of neighbouring numbers cancels
@elementwise(reference=lambda x: 1 / (np.sqrt(x + 1) + np.sqrt(x)), domain=(0.0, 1000.0), differentiable=False)
def root_step(x):
    """out = √(x + 1) - √x, accurate for large x"""
    return math.sqrt(x + 1) - math.sqrt(x)


# fault: 1 - cos x has no digit left near 0
@elementwise(reference=lambda x: 2 * np.sin(x / 2) ** 2, domain=(-3.0, 3.0), differentiable=False)
def versine(x):
    """out = 1 - cos x"""
    return 1 - math.cos(x)


def _mean(x):
    return np.sum(x / max(x.shape[-1], 1), axis=-1)


# fault: the sum overflows float32 although the mean is finite
@kernel("(n)->()", reference=_mean, domain=(-2.0, 2.0), differentiable=False)
def finite_mean(x, out):
    """out = Σ x / n, finite for finite elements; 0 for none"""
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    out[()] = total / x.dtype.type(max(x.size, 1))


# fault: the slope of √x² is 0 / 0 where the square underflows
@elementwise(reference=np.abs, domain=(0.5, 2.0))
def root_of_square(x):
    """out = |x|,  d_x = sign(x) d_out"""
    return abs(x)


@root_of_square.backward
def _(d_out, x):
    return d_out * (x * x * x) / (abs(x) * x * x)
