"""Reshapes a value to the shape of another, in row-major order: the gradient of a reshape.

    out = x, read in order
    d_x = reshape_like(d_out, x)

Shapes: x and like have the same number of elements; out has the shape of like. Dtypes: any. A view if strides allow it, else a
copy.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import ops, view

_examples = calls(
    floats((2, 6), (3, 4)), floats((1,), ()), floats((), (1, 1)), floats((0, 2), (3, 0)),
    sized=lambda size: floats((size, 3), (3, size)),
)  # fmt: skip


@view(reference=lambda x, like: np.reshape(x, np.shape(like)), domain=(-4.0, 4.0), shape_only=("like",), examples=_examples)
def reshape_like(x, like):
    return x.reshape(like.shape)._replace(shape=like.shape)


@reshape_like.gradient
def _(d_out, x):
    return ops.reshape_like(d_out, x)
