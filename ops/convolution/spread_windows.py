"""Zeros, with a value divided evenly among the elements of each window: the gradient of the mean of windows.

    out[n, c, z strides + a dilations - padding] += d[n, c, z] / count(z)     for all z and a that lie inside
    d_d = average_windows(d_out)

Shapes: d (batch, channels, windows...) and the shape of like, (batch, channels, depth, height, width), which out has; count is as in
average_windows. Dtypes: float32, float64.
"""

import numpy as np
from graphexec_ops.convolution._patches import count_inside, inside
from graphexec_ops.convolution._windows import check_pool, check_windows, in_windows, unwindows

from graphexec.plugin import TensorSpec, kernel, ops


def _shape(d, like, *, size, strides, padding, dilations, count_padding):
    check_pool("spread_windows", size, padding, dilations)
    check_windows("spread_windows", (d.shape,), like.shape, size, strides, padding, dilations)
    return TensorSpec(like.shape, d.dtype)


def _reference(d, like, *, size, strides, padding, dilations, count_padding):
    there = in_windows(np.ones_like(like), size, strides, padding, dilations, fill=float(count_padding))
    share = (d / np.sum(there, axis=-1))[:, :, None, None, None]
    return unwindows(np.broadcast_to(share, (*d.shape[:2], *size, *d.shape[2:])), like.shape[2:], strides, padding, dilations)


@kernel(shape=_shape, like=("like",), reference=_reference, domain=(-4.0, 4.0), shared=True)
def spread_windows(
    d, out, piece, pieces, *, size=(1, 1, 1), strides=(1, 1, 1), padding=(0, 0, 0, 0, 0, 0), dilations=(1, 1, 1),
    count_padding=True,
):  # fmt: skip
    planes, volume = d.shape[0] * d.shape[1], size[0] * size[1] * size[2]
    images = out.reshape(planes, out.shape[2], out.shape[3], out.shape[4])
    deltas = d.reshape(planes, d.shape[2], d.shape[3], d.shape[4])
    for plane in range(planes * piece // pieces, planes * (piece + 1) // pieces):
        images[plane] = 0
        for i in range(d.shape[2]):
            for j in range(d.shape[3]):
                delta, count = deltas[plane, i, j], volume
                if not count_padding:
                    count = count_inside(i, 0, images.shape[1], size, strides, padding, dilations)
                    count *= count_inside(j, 1, images.shape[2], size, strides, padding, dilations)
                for k in range(volume):
                    a, b, e = k // (size[1] * size[2]), k // size[2] % size[1], k % size[2]
                    z = i * strides[0] + a * dilations[0] - padding[0]
                    y = j * strides[1] + b * dilations[1] - padding[1]
                    offset = e * dilations[2] - padding[2]
                    start, stop = inside(offset, strides[2], images.shape[3], delta.size)
                    if 0 <= z < images.shape[1] and 0 <= y < images.shape[2] and start < stop:
                        row = images[plane, z, y, offset + start * strides[2] :]
                        for h in range(start, stop):
                            share = count
                            if not count_padding:
                                share *= count_inside(h, 2, images.shape[3], size, strides, padding, dilations)
                            row[(h - start) * strides[2]] += delta[h] / share


@spread_windows.gradient
def _(d_out, *, size, strides, padding, dilations, count_padding):
    where = {"size": size, "strides": strides, "padding": padding, "dilations": dilations}
    return ops.average_windows(d_out, count_padding=count_padding, **where)
