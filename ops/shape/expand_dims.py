"""Inserts axes of size 1.

    out = x, with the axes
    d_x = d_out, without them

Shapes: `axis` is one axis or a list of them, as counted in out. Dtypes: any. A view: nothing is copied.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import normalize_axes, ops, view

_examples = calls(
    floats((2, 3), axis=0), floats((2, 3), axis=-1), floats((2, 3), axis=(0, 2, -1)), floats((), axis=0), floats((0,), axis=1),
    sized=lambda size: floats((size,), axis=0),
)  # fmt: skip


@view(reference=lambda x, *, axis: np.expand_dims(x, axis), domain=(-4.0, 4.0), onnx="Unsqueeze", examples=_examples)
def expand_dims(x, *, axis: int | tuple[int, ...]):
    count = 1 if isinstance(axis, int) else len(axis)
    for a in normalize_axes(axis, x.ndim + count, "expand_dims"):
        x = x.insert(a)
    return x


@expand_dims.gradient
def _(d_out, *, axis):
    return ops.squeeze(d_out, axis=axis)
