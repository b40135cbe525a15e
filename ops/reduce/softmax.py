"""Softmax along an axis.

    out = eˣ / Σ eˣ
    d_x = out (d_out - Σ d_out out)

Shapes: x and out equal; the sum runs along `axis`: one axis, a list of them, or None for all. Dtypes: float32, float64. Does not
overflow. A row with NaN or inf, or with nothing but -inf, becomes NaN.
"""

import numpy as np
from graphexec_ops.reduce._examples import along_axes
from graphexec_ops.reduce._sums import accurate_sum, sum_of

from graphexec.math import exp
from graphexec.plugin import Axes, kernel, ops


@np.errstate(all="ignore")
def _reference(x, *, axis: Axes = -1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
    return e / accurate_sum(e, axis=axis, keepdims=True)


@kernel("(n)->(n)", reference=_reference, domain=(-4.0, 4.0), onnx="Softmax", examples=along_axes)
def softmax(x, out, *, axis: Axes = -1):  # the engine moves the axis to the end
    top = -np.inf
    for i in range(x.size):
        top = x[i] if x[i] > top else top
    for i in range(x.size):
        out[i] = exp(x[i] - top)
    total = sum_of(out)
    for i in range(x.size):
        out[i] /= total


@softmax.decomposition
def _(x, *, axis):
    e = ops.exp(x - ops.supremum(x, axis=axis, keepdims=True))
    return e / ops.sum(e, axis=axis, keepdims=True)


@softmax.gradient
def _(d_out, out, *, axis):
    return out * (d_out - ops.sum(d_out * out, axis=axis, keepdims=True))
