"""The mean of each window: average pooling over one to three spatial axes.

    out[n, c, z] = Σ_a x[n, c, z strides + a dilations - padding] / count
    d_x = Σ_z d_out[n, c, z] / count over the windows that contain the element

Shapes: x (batch, channels, spatial...), out (batch, channels, windows...); x, kernel, strides, padding and dilations as in
max_pool. count is the size of the window including padding, as in PyTorch; with count_include_pad=False, ONNX's default, it is the
number of its elements inside x. Dtypes: float32, float64. Differentiable any number of times.
"""

import math

from graphexec_ops._examples import calls, floats
from graphexec_ops.convolution._windows import (
    Padding,
    PerAxis,
    batch_of,
    check_pool,
    from_three,
    pool_geometry,
    pooled_axes,
    to_three,
    without_batch,
)

from graphexec.plugin import ShapeError, composite, ops

_examples = calls(
    floats((2, 3, 6, 4), kernel=2), floats((2, 3, 7, 5), kernel=2), floats((2, 2, 9), kernel=3, strides=2, padding=1),
    floats((2, 2, 9, 8), kernel=3, strides=2, padding=1, count_include_pad=False), floats((0, 2, 4, 4), kernel=2),
    floats((1, 2, 6, 7), kernel=(3, 2), strides=(1, 3), dilations=2), floats((2, 1, 4, 4, 4), kernel=2, strides=1),
    sized=lambda size: floats((1, 2, size), kernel=3),
)  # fmt: skip


@composite(domain=(-4.0, 4.0), onnx="AveragePool", examples=_examples)
def average_pool(
    x, *, kernel: PerAxis, strides: PerAxis | None = None, padding: Padding = 0, dilations: PerAxis = 1, count_include_pad=True
):
    spatial = pooled_axes(x, kernel)
    images = batch_of(ops, x, spatial)
    where = pool_geometry("average_pool", images, kernel, strides, padding, dilations)
    size = where.pop("size")
    check_pool("average_pool", size, where["padding"], where["dilations"])
    groups = images.shape[1]
    if not isinstance(groups, int):
        todo = "Declare the axis of the channels as a number."
        raise ShapeError(f"the number of channels is {groups!r}", op="average_pool", todo=todo)
    x3 = to_three(ops, images, 2)
    ones = ops.window_ones(x3, size=size)
    total = ops.correlate(x3, ones, ops.no_bias(ones), groups=groups, **where)
    count = float(math.prod(size)) if count_include_pad else ops.window_counts(x3, size=size, **where)
    return without_batch(ops, from_three(ops, total / count, images), x, spatial)
