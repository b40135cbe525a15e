"""Zeros with a value added at one place of each window: the gradient of max_windows.

    out[n, c, z strides + index[n, c, z] dilations - padding] += d[n, c, z]
    d_d = gather_windows(d_out, index)

Shapes: d and index (batch, channels, windows...) and the shape of like, (batch, channels, depth, height, width), which out has.
Dtypes: d floating, index int32, counted row by row in the window; -1 adds nothing.
"""

import numpy as np
from graphexec_ops._examples import calls
from graphexec_ops.convolution._examples import OVERLAPPING, QUADS, windowed
from graphexec_ops.convolution._patches import PATCHES
from graphexec_ops.convolution._windows import Six, Three, check_axes, check_pool, check_windows, unwindows

from graphexec.plugin import TensorSpec, array_at, col2im, kernel, ops


def _shape(d, index, like, *, size, strides, padding, dilations):
    check_axes("scatter_windows", d=(d.shape, 5), index=(index.shape, 5), like=(like.shape, 5))
    check_pool("scatter_windows", size, padding, dilations)
    check_windows("scatter_windows", (d.shape, index.shape), like.shape, size, strides, padding, dilations)
    return TensorSpec(like.shape, d.dtype)


def _reference(d, index, like, *, size, strides, padding, dilations):
    which = np.arange(np.prod(size)).reshape(*size, 1, 1, 1)
    seen = np.where(index[:, :, None, None, None] == which, d[:, :, None, None, None], 0)
    return unwindows(seen, like.shape[2:], strides, padding, dilations)


_examples = calls(
    windowed((2, 3, 1, 3, 2), (2, 3, 1, 3, 2), 4, (2, 3, 1, 7, 4), size=(1, 2, 2), **QUADS),
    windowed((2, 3, 1, 3, 2), (2, 3, 1, 3, 2), 4, (2, 3, 1, 6, 4), size=(1, 2, 2), **QUADS),
    windowed((2, 2, 2, 3, 3), (2, 2, 2, 3, 3), 12, (2, 2, 3, 4, 5), size=(2, 2, 3), **OVERLAPPING),
)  # fmt: skip


@kernel(
    shape=_shape, shape_only=("like",), types={"index": "int32"}, reference=_reference, parallel=True, scratch=PATCHES,
    domain={"d": (-4.0, 4.0), "index": (0, 1)}, raises=False, examples=_examples,
)  # fmt: skip
def scatter_windows(
    d, index, out, scratch, piece, pieces, *, size: Three = (1, 1, 1), strides: Three = (1, 1, 1),
    padding: Six = (0, 0, 0, 0, 0, 0), dilations: Three = (1, 1, 1),
):  # fmt: skip
    planes, places = d.shape[0] * d.shape[1], d.shape[2] * d.shape[3] * d.shape[4]
    images = out.reshape(planes, 1, out.shape[2], out.shape[3], out.shape[4])
    deltas, which = d.reshape(planes, places), index.reshape(planes, places)
    seen = array_at(scratch, PATCHES // d.itemsize, d)
    for plane in range(planes * piece // pieces, planes * (piece + 1) // pieces):
        images[plane] = 0
        for first in range(0, places, seen.size):
            last = min(first + seen.size, places)
            for k in range(size[0] * size[1] * size[2]):
                choose(seen, deltas[plane, first:last], which[plane, first:last], np.int32(k))
                col2im(images[plane], seen, k, k + 1, first, last, size, d.shape[2:], strides, padding, dilations)


def choose(x, delta, place, k):
    for i in range(delta.size):
        x[i] = delta[i] if place[i] == k else 0.0


@scatter_windows.gradient
def _(d_out, index, *, size, strides, padding, dilations):
    return ops.gather_windows(d_out, index, size=size, strides=strides, padding=padding, dilations=dilations)
