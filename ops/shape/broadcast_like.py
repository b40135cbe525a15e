"""Broadcasts a value to the shape of another: the gradient of sum_to.

    out[..., i, ...] = x[..., 0 or i, ...]
    d_x = sum_to(d_out, x)

Shapes: x's axes, counted from the last, equal those of like or are 1. Dtypes: any. A view: nothing is copied.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import ops, view

_examples = calls(
    floats((3,), (2, 3)), floats((2, 1), (2, 3)), floats((), (2, 2)), floats((1, 3), (0, 3)), floats((1, 1), (1, 4)),
    sized=lambda size: floats((3, 1), (3, size)),
)  # fmt: skip


@view(reference=lambda x, like: np.broadcast_to(x, np.shape(like)), domain=(-4.0, 4.0), shape_only=("like",), examples=_examples)
def broadcast_like(x, like):
    return x.broadcast(like.shape)


@broadcast_like.gradient
def _(d_out, x):
    return ops.sum_to(d_out, x)
