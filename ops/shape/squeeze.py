"""Removes axes of size 1.

    out = x, without the axes
    d_x = d_out, with the axes

Shapes: `axis` is one axis, a list of them, or None for all that are declared with size 1; a named dimension stays even if it
happens to be 1. Dtypes: any. A view: nothing is copied.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import Axes, ShapeError, Size, ops, reduced_axes, view


def _axes(shape, axis):
    """Returns the axes to remove, counted from 0. Named sizes are strings in a rule and Size in shape inference."""
    if axis is None:
        return [a for a, n in enumerate(shape) if n == 1 and not isinstance(n, Size)]
    return list(reduced_axes(axis, len(shape), "squeeze"))


_examples = calls(
    floats((1, 3, 1)), floats((1, 3, 1), axis=0), floats((1, 3, 1), axis=-1), floats((1, 3, 1), axis=(0, 2)), floats((1, 0)),
    floats((2, 3)), floats(()), sized=lambda size: floats((1, size, 1)),
)  # fmt: skip


@view(reference=lambda x, *, axis=None: np.squeeze(x, axis), domain=(-4.0, 4.0), onnx="Squeeze", examples=_examples)
def squeeze(x, *, axis: Axes = None):
    for a in reversed(_axes(x.shape, axis)):
        if x.shape[a] != 1:
            raise ShapeError(f"axis {a} has size {int(x.shape[a])}, not 1", todo="Only axes of size 1 can be left out.")
        x = x.drop(a)
    return x


@squeeze.gradient
def _(d_out, x, *, axis):
    return ops.expand_dims(d_out, axis=_axes(x.shape, axis))
