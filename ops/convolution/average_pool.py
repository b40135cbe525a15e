"""The mean of each window: average pooling over one to three spatial axes.

    out[n, c, z] = Σ_a x[n, c, z strides + a dilations - padding] / count
    d_x = Σ_z d_out[n, c, z] / count over the windows that an element is in

Shapes: x (batch, channels, spatial...), out (batch, channels, windows...); kernel, strides, padding and dilations as in max_pool.
count is the size of the window, padding and all, as in PyTorch; with count_include_pad=False, ONNX's default, it is the number of
elements that lie inside. Dtypes: float32, float64. Differentiable any number of times.
"""

from graphexec_ops.convolution._windows import from_three, pool_geometry, to_three

from graphexec.plugin import composite, ops


@composite(domain=(-4.0, 4.0), onnx="AveragePool")
def average_pool(x, *, kernel, strides=None, padding=0, dilations=1, count_include_pad=True):
    where = pool_geometry("average_pool", x, kernel, strides, padding, dilations)
    return from_three(ops, ops.average_windows(to_three(ops, x, 2), count_padding=count_include_pad, **where), x)
