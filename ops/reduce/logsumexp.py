"""log Σ eˣ along axes, without overflow.

    out = m + log Σ e^(x - m), m = max x
    d_x = d_out e^(x - out), repeated along the axes

Shapes: as sum. Dtypes: float32, float64. Elements of -inf add nothing and get no delta; if all are -inf, out is -inf.
An element of inf gives inf. NaN anywhere gives NaN.
"""

import numpy as np
from graphexec_ops._examples import floats
from graphexec_ops.reduce._examples import reductions

from graphexec.plugin import Axes, composite, ops


@np.errstate(all="ignore")
def _reference(x, *, axis=None, keepdims=False):
    return np.logaddexp.reduce(x.astype(np.float64), axis=axis, keepdims=keepdims, initial=-np.inf).astype(x.dtype)


@composite(reference=_reference, domain=(-4.0, 4.0), onnx="ReduceLogSumExp", examples=reductions(floats))
def logsumexp(x, *, axis: Axes = None, keepdims=False):
    top = ops.stop_gradient(ops.supremum(x, axis=axis, keepdims=True))
    top = ops.where(ops.less(ops.abs(top), float("inf")), top, 0.0)
    total = ops.sum(ops.exp(x - top), axis=axis, keepdims=True)
    nothing = ops.equal(total, 0.0)
    out = ops.where(nothing, float("-inf"), ops.log(ops.where(nothing, 1.0, total)) + top)  # log 0 would give a NaN delta
    return out if keepdims else ops.squeeze(out, axis=list(range(x.ndim)) if axis is None else axis)
