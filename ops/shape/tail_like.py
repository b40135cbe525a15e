"""Drops the first elements along an axis, as many as another value has there; undoes a concat, together with head_like.

    out[..., i, ...] = x[..., size of like + i, ...]
    d_x = zeros, then d_out

Shapes: out is x, shorter by like's size along `axis`. Dtypes: any. A view: nothing is copied.
"""

import numpy as np
from graphexec_ops.shape._examples import cut

from graphexec.plugin import ShapeError, normalize_axes, ops, view


def _reference(x, like, *, axis=0):
    return np.split(x, [like.shape[axis]], axis)[1]


@view(reference=_reference, domain=(-4.0, 4.0), shape_only=("like",), examples=cut)
def tail_like(x, like, *, axis=0):
    (a,) = normalize_axes(axis, x.ndim, "tail_like")
    if like.ndim != x.ndim:
        raise ShapeError(f"x has {x.ndim} axes and like {like.ndim}", op="tail_like", todo="Give them as many axes.")
    count, whole = like.shape[axis], x.shape[a]
    if count > whole:
        raise ShapeError(f"axis {a} has {int(whole)} elements, fewer than {int(count)}", op="tail_like", todo="Leave no more out.")
    rest = x.slice(a, int(count), int(whole))
    return rest._replace(shape=(*x.shape[:a], whole - count, *x.shape[a + 1 :]))


@tail_like.gradient
def _(d_out, x, like, *, axis):
    return ops.concat(ops.zeros_like(ops.head_like(x, like, axis=axis)), d_out, axis=axis)
