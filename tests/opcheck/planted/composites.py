"""Composites that differ from their reference, and decompositions that differ from their kernel."""

import numpy as np

from graphexec import math
from graphexec.plugin import composite, kernel, ops


# fault: it adds where the reference takes the mean
@composite(reference=lambda x: np.mean(x * x, axis=-1), domain=(-2.0, 2.0))
def mean_square(x):
    """out = Σ x² / n along the last axis"""
    return ops.sum(ops.square(x), axis=-1)


# fault: the mean runs over all axes, which a vector hides
@composite(reference=lambda x: x - np.mean(x, axis=-1, keepdims=True), domain=(-2.0, 2.0))
def centred_last(x):
    """out = x - mean of x along the last axis"""
    return x - ops.mean(x, keepdims=True)


@np.errstate(all="ignore")
def _scaled_softmax(x, *, scale=1.0):
    z = scale * x
    e = np.exp(z - np.max(z, axis=-1, keepdims=True, initial=-np.inf))
    return e / np.sum(e, axis=-1, keepdims=True)


# fault: the decomposition does not know the scale
@kernel("(n)->(n)", reference=_scaled_softmax, domain=(-2.0, 2.0), differentiable=False)
def scaled_softmax(x, out, *, scale=1.0):
    """out = softmax(scale x)"""
    top, total = -np.inf, 0.0
    for i in range(x.size):
        top = scale * x[i] if scale * x[i] > top or x[i] != x[i] else top
    for i in range(x.size):
        out[i] = math.exp(scale * x[i] - top)
        total += out[i]
    for i in range(x.size):
        out[i] /= total


@scaled_softmax.decomposition
def _(x, *, scale):
    e = ops.exp(x - ops.supremum(x, axis=-1, keepdims=True))
    return e / ops.sum(e, axis=-1, keepdims=True)


# fault: the decomposition adds over batch axes as well
@kernel("(n)->()", reference=lambda x: np.sum(np.abs(x), axis=-1), domain=(-2.0, 2.0), differentiable=False)
def total_size(x, out):
    """out = Σ |x|"""
    total = 0.0
    for i in range(x.size):
        total += abs(x[i])
    out[()] = total


@total_size.decomposition
def _(x):
    return ops.sum(ops.abs(x), axis=-1) if x.ndim < 2 else ops.sum(ops.abs(x)) + ops.sum(0 * x, axis=-1)


# fault: the approximation by tanh is off by 4e-4
@composite(reference=lambda x: 0.5 * x * (1 + math.erf(x / np.sqrt(2))), domain=(-4.0, 4.0))
def gaussian_gate(x):
    """out = x Φ(x), with the normal distribution Φ"""
    return 0.5 * x * (1 + ops.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


# fault: the smoothing is left out where it is not 0
@composite(reference=lambda x, *, smoothing=0.0: (1 - smoothing) * x + smoothing * np.mean(x, -1, keepdims=True), domain=(0.0, 1.0))
def smoothed_labels(x, *, smoothing=0.0):
    """out = (1 - smoothing) x + smoothing mean x"""
    mean = ops.mean(x, axis=-1, keepdims=True)
    return x if smoothing == 0 else (1 - smoothing) * x + mean


# fault: the decomposition has 1 for the slope at the other side
@kernel("(n)->(n)", reference=lambda x, *, low=0.0: np.maximum(x, low), domain=(-2.0, 2.0))
def floored(x, out, *, low=0.0):
    """out = max(x, low),  d_x = d_out where x > low"""
    for i in range(x.size):
        out[i] = low if x[i] <= low else x[i]


@floored.decomposition
def _(x, *, low):
    return ops.maximum(x, 0.0 * x)


@floored.backward
def _(d_out, x, d_x, *, low):
    for i in range(x.size):
        d_x[i] = 0 if x[i] <= low else d_out[i]
