"""Variance along axes, about the mean.

    out = Σ (x - mean x)² / (n - correction)
    d_x = 2 d_out (x - mean x) / (n - correction), repeated along the axes

Shapes: as sum. Dtypes: float32, float64. correction=0 gives the variance of the elements themselves, correction=1 Bessel's
estimate from a sample.
"""

from graphexec.plugin import composite, ops


@composite(domain=(-4.0, 4.0))
def variance(x, *, axis=None, keepdims=False, correction=0.0):
    centred = x - ops.mean(x, axis=axis, keepdims=True)
    return ops.sum(ops.square(centred), axis=axis, keepdims=keepdims) / (ops.size(x, axis=axis) - correction)
