"""Axes of size 1 left out.

    out = x, without the axes
    d_x = d_out, with them

Shapes: `axis` is one axis, a list of them, or None: all that have size 1 by declaration; a named dimension stays even where it
happens to be 1. Dtypes: any. A view: nothing is moved.
"""

import numpy as np

from graphexec.plugin import ShapeError, Size, normalize_axes, ops, view


def _axes(shape, axis):
    """The axes to leave out, counted from 0. Sizes with names are strings in a rule and Size while planning."""
    if axis is None:
        return [a for a, n in enumerate(shape) if n == 1 and not isinstance(n, Size)]
    return list(normalize_axes(axis, len(shape), "squeeze"))


@view(reference=lambda x, *, axis=None: np.squeeze(x, axis), domain=(-4.0, 4.0), onnx="Squeeze")
def squeeze(x, *, axis=None):
    for a in reversed(_axes(x.shape, axis)):
        if x.shape[a] != 1:
            raise ShapeError(f"axis {a} has size {int(x.shape[a])}, not 1", todo="Only axes of size 1 can be left out.")
        x = x.drop(a)
    return x


@squeeze.gradient
def _(d_out, x, *, axis):
    return ops.expand_dims(d_out, axis=_axes(x.shape, axis))
