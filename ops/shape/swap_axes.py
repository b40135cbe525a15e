"""Swaps two axes: by default the last two, which transposes each matrix of a batch.

    out[..., j, i] = x[..., i, j]
    d_x = swap_axes(d_out)

Shapes: any with both axes. Dtypes: any. A view: nothing is copied.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import normalize_axes, ops, view

_examples = calls(
    floats((2, 3)), floats((4, 2, 3)), floats((2, 3, 4), axis1=0, axis2=-1), floats((1, 3)), floats((0, 3)),
    floats((2, 3), axis1=1, axis2=1), sized=lambda size: floats((size, 3)),
)  # fmt: skip


@view(reference=lambda x, *, axis1=-2, axis2=-1: np.swapaxes(x, axis1, axis2), domain=(-4.0, 4.0), examples=_examples)
def swap_axes(x, *, axis1=-2, axis2=-1):
    (first,), (second,) = (normalize_axes(a, x.ndim, "swap_axes") for a in (axis1, axis2))
    axes = list(range(x.ndim))
    axes[first], axes[second] = second, first
    return x.permute(axes)


@swap_axes.gradient
def _(d_out, *, axis1, axis2):
    return ops.swap_axes(d_out, axis1=axis1, axis2=axis2)
