"""One element of each window: the gradient of scatter_windows.

    out[n, c, z] = x[n, c, z strides + index[n, c, z] dilations - padding]
    d_x = scatter_windows(d_out, index)

Shapes: x (batch, channels, depth, height, width), index and out (batch, channels, windows...). Dtypes: x floating, index int32,
counted row by row in the window; -1 gives 0. *Raises* KernelError when an index is outside of its window or of x.
"""

import numpy as np
from graphexec_ops.convolution._patches import position
from graphexec_ops.convolution._windows import check_pool, check_windows, in_windows

from graphexec.plugin import TensorSpec, kernel, ops


def _shape(x, index, *, size, strides, padding, dilations):
    check_pool("gather_windows", size, padding, dilations)
    check_windows("gather_windows", (index.shape,), x.shape, size, strides, padding, dilations)
    return TensorSpec(index.shape, x.dtype)


def _reference(x, index, *, size, strides, padding, dilations):
    seen = in_windows(x, size, strides, padding, dilations)
    return np.where(index < 0, 0, np.take_along_axis(seen, np.maximum(index, 0)[..., None], axis=-1)[..., 0])


@kernel(
    shape=_shape, types={"index": "int32"}, reference=_reference, shared=True, domain={"x": (-4.0, 4.0), "index": (0, 1)},
    errors={1: "an index is outside of its window"},
)  # fmt: skip
def gather_windows(
    x, index, out, piece, pieces, *, size=(1, 1, 1), strides=(1, 1, 1), padding=(0, 0, 0, 0, 0, 0), dilations=(1, 1, 1)
):
    planes = x.shape[0] * x.shape[1]
    images = x.reshape(planes, x.shape[2], x.shape[3], x.shape[4])
    places = index.reshape(planes, out.shape[2], out.shape[3], out.shape[4])
    taken = out.reshape(planes, out.shape[2], out.shape[3], out.shape[4])
    for plane in range(planes * piece // pieces, planes * (piece + 1) // pieces):
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                for h in range(out.shape[4]):
                    k = places[plane, i, j, h]
                    taken[plane, i, j, h] = 0.0
                    if k >= 0:
                        layer, a, b, e = position(k, size)
                        z = i * strides[0] + a * dilations[0] - padding[0]
                        y = j * strides[1] + b * dilations[1] - padding[1]
                        at = h * strides[2] + e * dilations[2] - padding[2]
                        if layer or not (0 <= z < x.shape[2] and 0 <= y < x.shape[3] and 0 <= at < x.shape[4]):
                            return 1
                        taken[plane, i, j, h] = images[plane, z, y, at]
    return 0


@gather_windows.gradient
def _(d_out, x, index, *, size, strides, padding, dilations):
    return ops.scatter_windows(d_out, index, x, size=size, strides=strides, padding=padding, dilations=dilations)
