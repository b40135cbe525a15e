"""Takes the first elements along an axis, as many as another value has there; undoes a concat, together with tail_like.

    out[..., i, ...] = x[..., i, ...]          for i below the size of like
    d_x = d_out, then zeros

Shapes: out is x with like's size along `axis`. Dtypes: any. A view: nothing is copied.
"""

import numpy as np
from graphexec_ops.shape._examples import cut

from graphexec.plugin import ShapeError, normalize_axes, ops, view


def _reference(x, like, *, axis=0):
    return np.split(x, [like.shape[axis]], axis)[0]


@view(reference=_reference, domain=(-4.0, 4.0), shape_only=("like",), examples=cut)
def head_like(x, like, *, axis=0):
    (a,) = normalize_axes(axis, x.ndim, "head_like")
    if like.ndim != x.ndim:
        raise ShapeError(f"x has {x.ndim} axes and like {like.ndim}", op="head_like", todo="Give them as many axes.")
    count = like.shape[axis]
    if count > x.shape[a]:
        raise ShapeError(f"axis {a} has {int(x.shape[a])} elements, fewer than {int(count)}", op="head_like", todo="Take no more.")
    return x._replace(shape=(*x.shape[:a], count, *x.shape[a + 1 :]))


@head_like.gradient
def _(d_out, x, like, *, axis):
    return ops.concat(d_out, ops.zeros_like(ops.tail_like(x, like, axis=axis)), axis=axis)
