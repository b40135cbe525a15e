"""Logarithm of the softmax along an axis.

    out = x - log Σ eˣ
    d_x = d_out - e^out Σ d_out

Shapes: x and out equal; the sum runs along `axis`: one axis, a list of them, or None for all. Dtypes: float32, float64. Does not
overflow, and keeps its precision when the softmax is near 0. A row with NaN or inf, or with nothing but -inf, becomes NaN.
"""

import numpy as np
from graphexec_ops.reduce._examples import along_axes
from graphexec_ops.reduce._sums import accurate_sum, sum_of

from graphexec.math import exp, log
from graphexec.plugin import Axes, kernel, ops


@np.errstate(all="ignore")
def _reference(x, *, axis: Axes = -1):
    shifted = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(accurate_sum(np.exp(shifted), axis=axis, keepdims=True))


@kernel("(n)->(n)", reference=_reference, domain=(-4.0, 4.0), onnx="LogSoftmax", examples=along_axes)
def log_softmax(x, out, *, axis: Axes = -1):  # the engine moves the axis to the end
    top = -np.inf
    for i in range(x.size):
        top = x[i] if x[i] > top else top
    for i in range(x.size):
        out[i] = exp(x[i] - top)
    rest = log(sum_of(out))
    for i in range(x.size):
        out[i] = x[i] - top - rest


@log_softmax.decomposition
def _(x, *, axis):
    shifted = x - ops.supremum(x, axis=axis, keepdims=True)
    return shifted - ops.log(ops.sum(ops.exp(shifted), axis=axis, keepdims=True))


@log_softmax.gradient
def _(d_out, out, *, axis):
    return d_out - ops.exp(out) * ops.sum(d_out, axis=axis, keepdims=True)
