"""The largest element of each window, and which it is: what max_pool is made of.

    out[n, c, z] = max_a x[n, c, z strides + a dilations - padding] over the a that lie inside
    index[n, c, z] = the first a where it is, counted row by row in the window
    d_x = scatter_windows(d_out, index)

Shapes: x (batch, channels, depth, height, width), out and index (batch, channels, windows...). Dtypes: x floating, index int32.
NaN in a window gives NaN, and the index of the first one.
"""

import numpy as np
from graphexec_ops.convolution._patches import inside
from graphexec_ops.convolution._windows import check_pool, in_windows, out_sizes

from graphexec.plugin import TensorSpec, kernel, ops


def _shape(x, *, size, strides, padding, dilations):
    check_pool("max_windows", size, padding, dilations)
    shape = (*x.shape[:2], *out_sizes("max_windows", x.shape[2:], size, strides, padding, dilations))
    return TensorSpec(shape, x.dtype), TensorSpec(shape, "int32")


def _reference(x, *, size, strides, padding, dilations):
    seen = in_windows(x, size, strides, padding, dilations, fill=-np.inf)
    there = in_windows(np.ones_like(x), size, strides, padding, dilations) == 1
    top = np.max(seen, axis=-1)
    hit = there & ((seen == top[..., None]) | np.isnan(seen))
    return top, np.where(hit.any(axis=-1), np.argmax(hit, axis=-1), -1)


@kernel(
    shape=_shape, outputs=("out", "index"), types={"index": "int32"}, reference=_reference, domain=(-4.0, 4.0), shared=True,
)  # fmt: skip
def max_windows(
    x, out, index, piece, pieces, *, size=(1, 1, 1), strides=(1, 1, 1), padding=(0, 0, 0, 0, 0, 0), dilations=(1, 1, 1)
):
    planes = x.shape[0] * x.shape[1]
    images = x.reshape(planes, x.shape[2], x.shape[3], x.shape[4])
    tops = out.reshape(planes, out.shape[2], out.shape[3], out.shape[4])
    places = index.reshape(planes, out.shape[2], out.shape[3], out.shape[4])
    quads = size == (1, 2, 2) and strides[1:] == (2, 2) and padding == (0, 0, 0, 0, 0, 0) and dilations == (1, 1, 1)
    for plane in range(planes * piece // pieces, planes * (piece + 1) // pieces):
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                top, place = tops[plane, i, j], places[plane, i, j]
                if quads:
                    image = images[plane, i * strides[0]]
                    take_quads(top, place, image[2 * j], image[2 * j + 1])
                    continue
                for e in range(top.size):
                    top[e], place[e] = -np.inf, -1
                for k in range(size[0] * size[1] * size[2]):
                    a, b, e = k // (size[1] * size[2]), k // size[2] % size[1], k % size[2]
                    z = i * strides[0] + a * dilations[0] - padding[0]
                    y = j * strides[1] + b * dilations[1] - padding[1]
                    offset = e * dilations[2] - padding[2]
                    start, stop = inside(offset, strides[2], images.shape[3], top.size)
                    if 0 <= z < images.shape[1] and 0 <= y < images.shape[2] and start < stop:
                        row = images[plane, z, y, offset + start * strides[2] :]
                        take_row(top[start:stop], place[start:stop], row, strides[2], np.int32(k))


def take_row(top, place, row, step, k):
    """Puts elements `step` apart where they are larger; nothing is larger than NaN. Steps of 1 and 2 vectorise."""
    if step == 1:
        for i in range(top.size):
            better = ((row[i] > top[i]) | (row[i] != row[i])) & (top[i] == top[i]) | (place[i] < 0)
            top[i], place[i] = row[i] if better else top[i], k if better else place[i]
    elif step == 2:
        for i in range(top.size):
            x = row[2 * i]
            better = ((x > top[i]) | (x != x)) & (top[i] == top[i]) | (place[i] < 0)
            top[i], place[i] = x if better else top[i], k if better else place[i]
    else:
        for i in range(top.size):
            x = row[step * i]
            better = ((x > top[i]) | (x != x)) & (top[i] == top[i]) | (place[i] < 0)
            top[i], place[i] = x if better else top[i], k if better else place[i]


def take_quads(top, place, upper, lower):
    """The windows of 2 x 2 that tile two rows."""
    for i in range(top.size):
        a, b, c, d = upper[2 * i], upper[2 * i + 1], lower[2 * i], lower[2 * i + 1]
        second = ((b > a) | (b != b)) & (a == a)
        fourth = ((d > c) | (d != d)) & (c == c)
        x, y = b if second else a, d if fourth else c
        down = ((y > x) | (y != y)) & (x == x)
        top[i] = y if down else x
        place[i] = (3 if fourth else 2) if down else (1 if second else 0)


@max_windows.gradient
def _(d_out, x, index, *, size, strides, padding, dilations):
    return ops.scatter_windows(d_out, index, x, size=size, strides=strides, padding=padding, dilations=dilations)
