"""Largest element along axes.

    out = max x
    d_x = d_out / k at the k elements that equal out, else 0

Shapes: as sum. Dtypes: floating and integer. NaN anywhere gives NaN. There is no result of no
elements: *raises* ShapeError. Ties share the delta evenly, as in JAX; if out is NaN, so is d_x.
"""

import numpy as np
from graphexec_ops._examples import integers, spread
from graphexec_ops.reduce._examples import reductions

from graphexec.plugin import ops, reduction


def _reference(x, *, axis=None, keepdims=False):
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    return np.max(x, axis=axis, keepdims=keepdims, initial=lowest)


@reduction(identity=float("-inf"), reference=_reference, domain=(-4.0, 4.0), exact=True, nonempty=True, kinds="fi",
           onnx="ReduceMax", examples=reductions(spread, integers((3, 4), axis=0), integers((0, 2), axis=1), empty=False))
def max(accumulated, x):
    larger = x if x > accumulated else accumulated  # keeps a NaN in accumulated
    return larger if x == x else x


@max.gradient
def _(d_out, x, out, *, axis, keepdims):
    top = ops.expand_like(out, x, axis=axis, keepdims=keepdims)
    hit = ops.equal(x, top)
    count = ops.sum(ops.cast(hit, dtype=x.dtype), axis=axis, keepdims=True)
    share = ops.expand_like(d_out, x, axis=axis, keepdims=keepdims) / count
    return ops.where(hit, share, ops.where(ops.equal(top, top), 0.0, top))  # 0 * share is NaN where the share is infinite
