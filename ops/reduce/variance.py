"""Variance along axes, about the mean.

    out = Σ (x - mean x)² / (n - correction)
    d_x = 2 d_out (x - mean x) / (n - correction), repeated along the axes

Shapes: as sum. Dtypes: as mean. correction=0 gives the variance of the elements themselves, correction=1 Bessel's
estimate from a sample. It is computed in two passes, and corrected by the rounding error of the mean: equal elements give 0.

Error bound: as sum, relative to the result. Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance",
The American Statistician 37(3), 1983, the corrected two-pass algorithm.
"""

from typing import Annotated

from graphexec_ops._examples import floats
from graphexec_ops.reduce._examples import reductions

from graphexec.plugin import Axes, Range, composite, ops


@composite(domain=(-4.0, 4.0), kinds="fib", examples=reductions(floats, floats((4, 3), axis=0, correction=1), empty=False))
def variance(x, *, axis: Axes = None, keepdims=False, correction: Annotated[float, Range(0, 2**31)] = 0.0):
    if not x.dtype.startswith("float"):
        x = ops.cast(x, dtype="float64")
    centred = x - ops.mean(x, axis=axis, keepdims=True)
    n = ops.size(x, axis=axis)
    squares = ops.sum(ops.square(centred), axis=axis, keepdims=keepdims)
    drift = ops.sum(centred, axis=axis, keepdims=keepdims)  # 0 but for rounding, as are its derivatives
    excess = ops.stop_gradient(ops.minimum(drift * (drift / n), squares))
    return (squares - excess) / (n - correction)
