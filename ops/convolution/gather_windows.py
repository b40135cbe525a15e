"""One element of each window: the gradient of scatter_windows.

    out[n, c, z] = x[n, c, z strides + index[n, c, z] dilations - padding]
    d_x = scatter_windows(d_out, index)

Shapes: x (batch, channels, depth, height, width), index and out (batch, channels, windows...). Dtypes: x floating, index int32,
counted row by row in the window; an index outside the window gives 0, as does a place outside x.
"""

import numpy as np
from graphexec_ops._examples import calls
from graphexec_ops.convolution._examples import OVERLAPPING, QUADS, windowed
from graphexec_ops.convolution._patches import PATCHES
from graphexec_ops.convolution._windows import Six, Three, check_axes, check_pool, check_windows, in_windows

from graphexec.plugin import TensorSpec, array_at, im2col, kernel, ops


def _shape(x, index, *, size, strides, padding, dilations):
    check_axes("gather_windows", x=(x.shape, 5), index=(index.shape, 5))
    check_pool("gather_windows", size, padding, dilations)
    check_windows("gather_windows", (index.shape,), x.shape, size, strides, padding, dilations)
    return TensorSpec(index.shape, x.dtype)


def _reference(x, index, *, size, strides, padding, dilations):
    seen = in_windows(x, size, strides, padding, dilations)
    chosen = np.take_along_axis(seen, np.clip(index, 0, seen.shape[-1] - 1)[..., None], axis=-1)[..., 0]
    return np.where((index >= 0) & (index < seen.shape[-1]), chosen, 0)


_examples = calls(
    windowed((2, 3, 1, 6, 4), (2, 3, 1, 3, 2), 4, size=(1, 2, 2), **QUADS),
    windowed((2, 2, 3, 4, 5), (2, 2, 2, 3, 3), 12, size=(2, 2, 3), **OVERLAPPING),
)  # fmt: skip


@kernel(
    shape=_shape, types={"index": "int32"}, reference=_reference, parallel=True, scratch=PATCHES, rows=("x", "index"),
    domain={"x": (-4.0, 4.0), "index": (0, 1)}, raises=False, examples=_examples,
)  # fmt: skip
def gather_windows(
    x, index, out, scratch, piece, pieces, *, size: Three = (1, 1, 1), strides: Three = (1, 1, 1),
    padding: Six = (0, 0, 0, 0, 0, 0), dilations: Three = (1, 1, 1),
):  # fmt: skip
    planes, places = x.shape[0] * x.shape[1], out.shape[2] * out.shape[3] * out.shape[4]
    images = x.reshape(planes, 1, x.shape[2], x.shape[3], x.shape[4])
    taken, which = out.reshape(planes, places), index.reshape(planes, places)
    seen = array_at(scratch, PATCHES // x.itemsize, x)
    for plane in range(planes * piece // pieces, planes * (piece + 1) // pieces):
        taken[plane] = 0
        for first in range(0, places, seen.size):
            last = min(first + seen.size, places)
            for k in range(size[0] * size[1] * size[2]):
                im2col(images[plane], seen, k, k + 1, first, last, size, out.shape[2:], strides, padding, dilations)
                choose(taken[plane, first:last], seen, which[plane, first:last], np.int32(k))


def choose(out, x, place, k):
    for i in range(out.size):
        out[i] = x[i] if place[i] == k else out[i]


@gather_windows.gradient
def _(d_out, x, index, *, size, strides, padding, dilations):
    return ops.scatter_windows(d_out, index, x, size=size, strides=strides, padding=padding, dilations=dilations)
