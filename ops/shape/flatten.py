"""Flattens a value to a matrix: the axes before `axis` by the axes from `axis` on.

    out[rows, columns] = x, read in order
    d_x = d_out, read in order

Shapes: (n0, ..., n_axis, ...) gives (n0 ⋯ n_{axis-1}, n_axis ⋯); no axes give size 1. Dtypes: any. axis may be from -r to r.
Source: ONNX, Flatten.
"""

import math

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import ShapeError, ops, view


def _reference(x, *, axis=1):
    axis = axis + x.ndim if axis < 0 else axis
    return np.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


_examples = calls(
    floats((2, 3, 4)), floats((2, 3, 4), axis=0), floats((2, 3, 4), axis=2), floats((2, 3, 4), axis=-1), floats((2, 3, 4), axis=3),
    floats((5,)), floats((), axis=0), floats((0, 3)), floats((1, 3)), sized=lambda size: floats((size, 2, 3)),
)  # fmt: skip


@view(reference=_reference, domain=(-4.0, 4.0), onnx="Flatten", examples=_examples)
def flatten(x, *, axis=1):
    if not -x.ndim <= axis <= x.ndim:
        raise ShapeError(f"axis {axis} is out of range for {x.ndim} axes", op="flatten", todo=f"Use -{x.ndim} to {x.ndim}.")
    cut = axis + x.ndim if axis < 0 else axis
    return x.reshape((math.prod(x.shape[:cut]), math.prod(x.shape[cut:])))


@flatten.gradient
def _(d_out, x):
    return ops.reshape_like(d_out, x)
