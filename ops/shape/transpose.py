"""Permutes the axes of a value.

    out[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...]
    d_x = transpose(d_out, axes⁻¹)

Shapes: any; axis k of out is axis axes[k] of x; axes=None reverses them. Dtypes: any. A view: nothing is copied.
"""

import numpy as np
from graphexec_ops._examples import calls, floats, integers

from graphexec.plugin import ops, view

_examples = calls(
    floats((2, 3)), floats((2, 3, 4)), floats((2, 3, 4), axes=(1, 2, 0)), floats((2, 3, 4), axes=(-1, 0, -2)), floats(()),
    floats((3,)), floats((0, 3)), floats((1, 3)), integers((2, 3)), sized=lambda size: floats((size, 3)),
)  # fmt: skip


@view(reference=lambda x, *, axes=None: np.transpose(x, axes), domain=(-4.0, 4.0), onnx="Transpose", examples=_examples)
def transpose(x, *, axes: tuple[int, ...] | None = None):
    return x.permute(tuple(reversed(range(x.ndim))) if axes is None else axes)


@transpose.gradient
def _(d_out, *, axes):
    if axes is None:
        return ops.transpose(d_out)
    counted = [a % len(axes) for a in axes]
    return ops.transpose(d_out, axes=[counted.index(a) for a in range(len(axes))])
