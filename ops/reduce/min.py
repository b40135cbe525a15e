"""Smallest element along axes.

    out = min x
    d_x = d_out / k at the k elements that equal out, else 0

Shapes: as sum. Dtypes: floating and integer. NaN anywhere gives NaN. There is no result of no
elements: *raises* ShapeError. Ties share the delta evenly, as in JAX; if out is NaN, so is d_x.
"""

import numpy as np
from graphexec_ops._examples import integers, spread
from graphexec_ops.reduce._examples import reductions

from graphexec.plugin import ops, reduction


def _reference(x, *, axis=None, keepdims=False):
    highest = np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).max
    return np.min(x, axis=axis, keepdims=keepdims, initial=highest)


@reduction(identity=float("inf"), reference=_reference, domain=(-4.0, 4.0), exact=True, nonempty=True, kinds="fi",
           onnx="ReduceMin", examples=reductions(spread, integers((3, 4), axis=0), integers((0, 2), axis=1), empty=False))
def min(accumulated, x):
    smaller = x if x < accumulated else accumulated  # keeps a NaN in accumulated
    return smaller if x == x else x


@min.gradient
def _(d_out, x, out, *, axis, keepdims):
    top = ops.expand_like(out, x, axis=axis, keepdims=keepdims)
    hit = ops.equal(x, top)
    count = ops.sum(ops.cast(hit, dtype=x.dtype), axis=axis, keepdims=True)
    share = ops.expand_like(d_out, x, axis=axis, keepdims=keepdims) / count
    return ops.where(hit, share, ops.where(ops.equal(top, top), 0.0, top))  # 0 * share is NaN where the share is infinite
