"""Expands a reduced value to the shape before the reduction: the gradient of a sum.

    out[..., i, ...] = d[..., ...]          for every i along the reduced axes
    d_d = sum(d_out, axis, keepdims)

Shapes: d has the shape of a reduction of `like` with the same `axis` and `keepdims`; out has the shape of like. Dtypes: any.
A view: nothing is copied.
"""

import numpy as np

from graphexec.plugin import Axes, ops, reduced_axes, view


def _reference(d, like, *, axis=None, keepdims=False):
    if not keepdims:
        d = np.expand_dims(d, reduced_axes(axis, np.ndim(like), "expand_like"))
    return np.broadcast_to(d, np.shape(like))


@view(reference=_reference, domain=(-4.0, 4.0), shape_only=("like",))
def expand_like(d, like, *, axis: Axes = None, keepdims=False):
    if not keepdims:
        for a in reduced_axes(axis, like.ndim, "expand_like"):
            d = d.insert(a)
    return d.broadcast(like.shape)


@expand_like.gradient
def _(d_out, *, axis, keepdims):
    return ops.sum(d_out, axis=axis, keepdims=keepdims)
