"""Zeros, with a value added at one place of each window: the gradient of the largest elements of windows.

    out[n, c, z strides + index[n, c, z] dilations - padding] += d[n, c, z]
    d_d = gather_windows(d_out, index)

Shapes: d and index (batch, channels, windows...) and the shape of like, (batch, channels, depth, height, width), which out has.
Dtypes: d floating, index int32, counted row by row in the window; -1 for nowhere.
"""

import numpy as np
from graphexec_ops.convolution._patches import inside
from graphexec_ops.convolution._windows import check_pool, check_windows, unwindows

from graphexec.plugin import TensorSpec, kernel, ops


def _shape(d, index, like, *, size, strides, padding, dilations):
    check_pool("scatter_windows", size, padding, dilations)
    check_windows("scatter_windows", (d.shape, index.shape), like.shape, size, strides, padding, dilations)
    return TensorSpec(like.shape, d.dtype)


def _reference(d, index, like, *, size, strides, padding, dilations):
    which = np.arange(np.prod(size)).reshape(*size, 1, 1, 1)
    seen = np.where(index[:, :, None, None, None] == which, d[:, :, None, None, None], 0)
    return unwindows(seen, like.shape[2:], strides, padding, dilations)


@kernel(
    shape=_shape, like=("like",), types={"index": "int32"}, reference=_reference, shared=True,
    domain={"d": (-4.0, 4.0), "index": (0, 1)},
)  # fmt: skip
def scatter_windows(
    d, index, out, piece, pieces, *, size=(1, 1, 1), strides=(1, 1, 1), padding=(0, 0, 0, 0, 0, 0), dilations=(1, 1, 1)
):
    planes = d.shape[0] * d.shape[1]
    images = out.reshape(planes, out.shape[2], out.shape[3], out.shape[4])
    deltas = d.reshape(planes, d.shape[2], d.shape[3], d.shape[4])
    places = index.reshape(planes, d.shape[2], d.shape[3], d.shape[4])
    quads = size == (1, 2, 2) and strides == (1, 2, 2) and padding == (0, 0, 0, 0, 0, 0) and dilations == (1, 1, 1)
    whole = quads and out.shape[3] == 2 * d.shape[3] and out.shape[4] == 2 * d.shape[4]
    for plane in range(planes * piece // pieces, planes * (piece + 1) // pieces):
        if not whole:
            images[plane] = 0
        for i in range(d.shape[2]):
            for j in range(d.shape[3]):
                delta, place = deltas[plane, i, j], places[plane, i, j]
                if quads:
                    put_quads(images[plane, i, 2 * j], images[plane, i, 2 * j + 1], delta, place)
                    continue
                for k in range(size[0] * size[1] * size[2]):
                    a, b, e = k // (size[1] * size[2]), k // size[2] % size[1], k % size[2]
                    z = i * strides[0] + a * dilations[0] - padding[0]
                    y = j * strides[1] + b * dilations[1] - padding[1]
                    offset = e * dilations[2] - padding[2]
                    start, stop = inside(offset, strides[2], images.shape[3], delta.size)
                    if 0 <= z < images.shape[1] and 0 <= y < images.shape[2] and start < stop:
                        row = images[plane, z, y, offset + start * strides[2] :]
                        add_where(row, strides[2], delta[start:stop], place[start:stop], k)


def add_where(row, step, delta, place, k):
    """Adds deltas whose place is k to elements `step` apart."""
    for i in range(delta.size):
        row[i * step] += delta[i] if place[i] == k else 0.0


def put_quads(upper, lower, delta, place):
    """The deltas of windows of 2 x 2 that tile two rows."""
    for i in range(delta.size):
        upper[2 * i] = delta[i] if place[i] == 0 else 0.0
        upper[2 * i + 1] = delta[i] if place[i] == 1 else 0.0
    for i in range(delta.size):
        lower[2 * i] = delta[i] if place[i] == 2 else 0.0
        lower[2 * i + 1] = delta[i] if place[i] == 3 else 0.0


@scatter_windows.gradient
def _(d_out, index, *, size, strides, padding, dilations):
    return ops.gather_windows(d_out, index, size=size, strides=strides, padding=padding, dilations=dilations)
