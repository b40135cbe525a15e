"""Expands a reduced value to the shape before the reduction: the gradient of a sum.

    out[..., i, ...] = d[..., ...]          for every i along the reduced axes
    d_d = sum(d_out, axis, keepdims)

Shapes: d has the shape of a reduction of `like` with the same `axis` and `keepdims`; out has the shape of like. Dtypes: any.
A view: nothing is copied.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import Axes, ShapeError, ops, reduced_axes, shape_text, view


def _reference(d, like, *, axis=None, keepdims=False):
    if not keepdims:
        d = np.expand_dims(d, reduced_axes(axis, np.ndim(like), "expand_like"))
    return np.broadcast_to(d, np.shape(like))


_examples = calls(
    floats((), (2, 3)), floats((3,), (2, 3), axis=0), floats((2,), (2, 3), axis=-1),
    floats((2, 1), (2, 3), axis=1, keepdims=True), floats((3,), (2, 3, 4), axis=(0, -1)), floats((1, 1), (2, 3), keepdims=True),
    floats((0,), (0, 3), axis=1), floats((2,), (2, 1), axis=1), sized=lambda size: floats((3,), (size, 3), axis=0),
)  # fmt: skip


@view(reference=_reference, domain=(-4.0, 4.0), shape_only=("like",), examples=_examples)
def expand_like(d, like, *, axis: Axes = None, keepdims=False):
    axes = reduced_axes(axis, like.ndim, "expand_like")
    given = d.shape
    if not keepdims:
        for a in axes:
            d = d.insert(a)
    if d.ndim != like.ndim or any(m != (1 if k in axes else n) for k, (m, n) in enumerate(zip(d.shape, like.shape, strict=True))):
        raise ShapeError(
            f"d {shape_text(given)} is not a reduction of like {shape_text(like.shape)}", op="expand_like",
            todo="Give the same axis and keepdims as to the reduction.",
        )
    return d.broadcast(like.shape)


@expand_like.gradient
def _(d_out, *, axis, keepdims):
    return ops.sum(d_out, axis=axis, keepdims=keepdims)
