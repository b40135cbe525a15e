"""The mean of each window: what average_pool is made of.

    out[n, c, z] = Σ_a x[n, c, z strides + a dilations - padding] / count(z)
    d_x = spread_windows(d_out)

Shapes: x (batch, channels, depth, height, width), out (batch, channels, windows...). x is 0 outside; count is the size of the
window, or, without `count_padding`, how many of its elements lie inside. Dtypes: float32, float64.
"""

import numpy as np
from graphexec_ops.convolution._patches import count_inside, inside
from graphexec_ops.convolution._windows import check_pool, in_windows, out_sizes

from graphexec.plugin import kernel, ops


def _shape(x, *, size, strides, padding, dilations, count_padding):
    check_pool("average_windows", size, padding, dilations)
    return (*x.shape[:2], *out_sizes("average_windows", x.shape[2:], size, strides, padding, dilations))


def _reference(x, *, size, strides, padding, dilations, count_padding):
    there = in_windows(np.ones_like(x), size, strides, padding, dilations, fill=float(count_padding))
    return np.sum(in_windows(x, size, strides, padding, dilations), axis=-1) / np.sum(there, axis=-1)


@kernel(shape=_shape, reference=_reference, domain=(-4.0, 4.0), shared=True)
def average_windows(
    x, out, piece, pieces, *, size=(1, 1, 1), strides=(1, 1, 1), padding=(0, 0, 0, 0, 0, 0), dilations=(1, 1, 1),
    count_padding=True,
):  # fmt: skip
    planes, volume = x.shape[0] * x.shape[1], size[0] * size[1] * size[2]
    images = x.reshape(planes, x.shape[2], x.shape[3], x.shape[4])
    means = out.reshape(planes, out.shape[2], out.shape[3], out.shape[4])
    for plane in range(planes * piece // pieces, planes * (piece + 1) // pieces):
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                mean = means[plane, i, j]
                mean[:] = 0.0
                for k in range(volume):
                    a, b, e = k // (size[1] * size[2]), k // size[2] % size[1], k % size[2]
                    z = i * strides[0] + a * dilations[0] - padding[0]
                    y = j * strides[1] + b * dilations[1] - padding[1]
                    offset = e * dilations[2] - padding[2]
                    start, stop = inside(offset, strides[2], images.shape[3], mean.size)
                    if 0 <= z < images.shape[1] and 0 <= y < images.shape[2] and start < stop:
                        add_steps(mean[start:stop], images[plane, z, y, offset + start * strides[2] :], strides[2])
                if count_padding:
                    for e in range(mean.size):
                        mean[e] /= volume
                else:
                    rows = count_inside(i, 0, images.shape[1], size, strides, padding, dilations)
                    rows *= count_inside(j, 1, images.shape[2], size, strides, padding, dilations)
                    for e in range(mean.size):
                        mean[e] /= rows * count_inside(e, 2, images.shape[3], size, strides, padding, dilations)


def add_steps(total, row, step):
    """Adds elements `step` apart. Steps of 1 and 2 vectorise."""
    if step == 1:
        for i in range(total.size):
            total[i] += row[i]
    elif step == 2:
        for i in range(total.size):
            total[i] += row[2 * i]
    else:
        for i in range(total.size):
            total[i] += row[step * i]


@average_windows.gradient
def _(d_out, x, *, size, strides, padding, dilations, count_padding):
    where = {"size": size, "strides": strides, "padding": padding, "dilations": dilations}
    return ops.spread_windows(d_out, x, count_padding=count_padding, **where)
