"""Reshapes a value to the shape of another, in row-major order: the gradient of a reshape.

    out = x, read in order
    d_x = reshape_like(d_out, x)

Shapes: x and like have the same number of elements; out has the shape of like. Dtypes: any. A view if strides allow it, else a
copy.
"""

import numpy as np

from graphexec.plugin import ops, view


@view(reference=lambda x, like: np.reshape(x, np.shape(like)), domain=(-4.0, 4.0), shape_only=("like",))
def reshape_like(x, like):
    return x.reshape(like.shape)._replace(shape=like.shape)


@reshape_like.gradient
def _(d_out, x):
    return ops.reshape_like(d_out, x)
