"""Largest element of each window and its index, which implements max_pool.

    out[n, c, z] = max_a x[n, c, z strides + a dilations - padding] over the a with a place inside
    index[n, c, z] = the first such a, counted row by row in the window
    d_x = scatter_windows(d_out, index)

Shapes: x (batch, channels, depth, height, width), out and index (batch, channels, windows...). Dtypes: x floating, index int32.
NaN in a window gives NaN and the index of the first NaN. Padding counts as -inf: if a window has nothing larger, the index may
point to padding, and the delta is dropped.
"""

import numpy as np
from graphexec_ops._examples import calls, spread
from graphexec_ops.convolution._examples import PADDED, QUADS
from graphexec_ops.convolution._patches import PATCHES
from graphexec_ops.convolution._windows import Six, Three, check_axes, check_pool, in_windows, out_sizes

from graphexec.plugin import TensorSpec, array_at, im2col, kernel, ops


def _shape(x, *, size, strides, padding, dilations):
    check_axes("max_windows", x=(x.shape, 5))
    check_pool("max_windows", size, padding, dilations)
    shape = (*x.shape[:2], *out_sizes("max_windows", x.shape[2:], size, strides, padding, dilations))
    return TensorSpec(shape, x.dtype), TensorSpec(shape, "int32")


def _reference(x, *, size, strides, padding, dilations):
    seen = in_windows(x, size, strides, padding, dilations, fill=-np.inf)
    return np.max(seen, axis=-1), np.argmax(seen, axis=-1)


_examples = calls(
    spread((2, 3, 1, 6, 4), size=(1, 2, 2), **QUADS), spread((2, 2, 3, 4, 5), size=(2, 2, 3), **PADDED),
)  # fmt: skip


@kernel(
    shape=_shape, outputs=("out", "index"), types={"index": "int32"}, reference=_reference, domain=(-4.0, 4.0), parallel=True,
    scratch=PATCHES, rows=("x",), raises=False, examples=_examples,
)  # fmt: skip
def max_windows(
    x, out, index, scratch, piece, pieces, *, size: Three = (1, 1, 1), strides: Three = (1, 1, 1),
    padding: Six = (0, 0, 0, 0, 0, 0), dilations: Three = (1, 1, 1),
):  # fmt: skip
    planes, places = x.shape[0] * x.shape[1], out.shape[2] * out.shape[3] * out.shape[4]
    images = x.reshape(planes, 1, x.shape[2], x.shape[3], x.shape[4])
    tops, which = out.reshape(planes, places), index.reshape(planes, places)
    seen = array_at(scratch, PATCHES // x.itemsize, x)
    for plane in range(planes * piece // pieces, planes * (piece + 1) // pieces):
        for first in range(0, places, seen.size):
            last = min(first + seen.size, places)
            top, place = tops[plane, first:last], which[plane, first:last]
            for k in range(size[0] * size[1] * size[2]):
                im2col(images[plane], seen, k, k + 1, first, last, size, out.shape[2:], strides, padding, dilations, 1)
                if k == 0:
                    begin(top, place, seen)
                else:
                    take(top, place, seen, np.int32(k))


def begin(top, place, x):
    """Starts with the elements of x, whose index is 0."""
    for i in range(top.size):
        top[i] = x[i]
        place[i] = 0


def take(top, place, x, k):
    """Replaces elements of top by larger ones of x, with index k; nothing is larger than NaN."""
    for i in range(top.size):
        new = x[i]
        old = top[i]
        was = place[i]
        stays = (new <= old) | (old != old)
        top[i] = old if stays else new
        place[i] = was if stays else k


@max_windows.gradient
def _(d_out, x, index, *, size, strides, padding, dilations):
    return ops.scatter_windows(d_out, index, x, size=size, strides=strides, padding=padding, dilations=dilations)
