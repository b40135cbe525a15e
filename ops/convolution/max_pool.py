"""The largest element of each window: max pooling over one to three spatial axes.

    out[n, c, z] = max_a x[n, c, z strides + a dilations - padding] over the a with a place inside
    d_x gets d_out[n, c, z] at the first of the largest elements of each window

Shapes: x (batch, channels, spatial...), out (batch, channels, windows...); kernel, strides, padding and dilations as in conv;
strides=None means the size of the kernel, so that windows are adjacent. A kernel given as a list names the spatial axes: an x with
one axis more is one image, (channels, spatial...), and gives (channels, windows...). Dtypes: float32, float64. Padding counts as
-inf; NaN in a window gives NaN. At a tie the first element gets all of the delta, as in PyTorch and ONNX (the reduction max divides
it).
"""

from graphexec_ops._examples import calls, floats, spread
from graphexec_ops.convolution._windows import (
    Padding,
    PerAxis,
    batch_of,
    from_three,
    pool_geometry,
    pooled_axes,
    to_three,
    without_batch,
)

from graphexec.plugin import composite, ops

_examples = calls(
    spread((2, 3, 6, 4), kernel=2), spread((2, 3, 7, 5), kernel=2), spread((2, 2, 9), kernel=3, strides=2, padding=1),
    spread((1, 2, 6, 7), kernel=(3, 2), strides=(1, 3), dilations=2), spread((2, 1, 4, 4, 4), kernel=2, strides=1),
    spread((2, 2, 5, 5), kernel=3, padding="same", strides=1), floats((0, 2, 4, 4), kernel=2), spread((1, 1, 1, 1), kernel=1),
    sized=lambda size: spread((1, 2, size), kernel=3),
)  # fmt: skip


@composite(domain=(-4.0, 4.0), onnx="MaxPool", examples=_examples)
def max_pool(x, *, kernel: PerAxis, strides: PerAxis | None = None, padding: Padding = 0, dilations: PerAxis = 1):
    spatial = pooled_axes(x, kernel)
    images = batch_of(ops, x, spatial)
    where = pool_geometry("max_pool", images, kernel, strides, padding, dilations)
    out, _ = ops.max_windows(to_three(ops, images, 2), **where)
    return without_batch(ops, from_three(ops, out, images), x, spatial)
