"""Convolution (a cross-correlation, as usual in networks) over one to three spatial axes.

    out[n, o, z] = b[o] + Σ_{c, a} w[o, c, a] x[n, c, z strides + a dilations - padding]

Shapes: x (batch, channels, spatial...), w (out, channels / groups, kernel...), b (out,) or none; out (batch, out, windows...). An x
with one axis less than w is one image, (channels, spatial...), and gives (out, windows...). An axis has (size + padding before and
after - dilations (kernel - 1) - 1) // strides + 1 windows. x is 0 outside. strides and dilations: an integer, or one for each
spatial axis. padding: the same; or twice as many, those before the axes first, as in ONNX; or "valid" (none); or "same" (ceil(size
/ strides) windows; an odd padding adds the extra element at the end). groups: the number of channel groups; the output channels of
a group see only its input channels. Dtypes: float32, float64. Differentiable any number of times.
Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
"""

from graphexec_ops._examples import calls, floats
from graphexec_ops.convolution._windows import (
    Groups,
    Padding,
    PerAxis,
    batch_of,
    check_rank,
    from_three,
    geometry,
    to_three,
    without_batch,
)

from graphexec.plugin import ShapeError, composite, ops

_examples = calls(
    floats((2, 3, 6, 5), (4, 3, 3, 2), (4,)), floats((2, 3, 6, 5), (4, 3, 3, 3), padding=1),
    floats((3, 2, 9), (2, 2, 3), (2,)), floats((2, 4, 7, 7), (6, 2, 3, 3), (6,), strides=2, padding="same", groups=2),
    floats((1, 2, 8, 9), (3, 2, 2, 3), strides=(2, 1), padding=(0, 1, 2, 0), dilations=(1, 2)),
    floats((2, 2, 4, 5, 4), (3, 2, 2, 3, 2), (3,), strides=(1, 2, 1), padding=1), floats((0, 2, 5, 5), (3, 2, 3, 3), (3,)),
    floats((9, 1, 5, 1), (1, 1, 1, 1)), floats((1, 2, 1, 1), (2, 2, 3, 3), padding=1), floats((2, 3, 5), (3, 1, 3), groups=3),
    sized=lambda size: floats((2, 2, size), (3, 2, 3), (3,)),
)  # fmt: skip


@composite(domain=(-2.0, 2.0), onnx="Conv", examples=_examples)
def conv(x, w, b=None, *, strides: PerAxis = 1, padding: Padding = 0, dilations: PerAxis = 1, groups: Groups = 1):
    spatial = w.ndim - 2
    images = batch_of(ops, x, spatial)
    check_rank("conv", images)
    if w.ndim != images.ndim:
        todo = "x is (batch, channels, spatial...) or (channels, spatial...), w (out, channels / groups, kernel...)."
        raise ShapeError("x and w differ in rank", op="conv", todo=todo)
    where = geometry("conv", images, w.shape[2:], strides, padding, dilations)
    weights = ops.expand_dims(to_three(ops, w, 2), axis=0)
    bias = ops.no_bias(weights) if b is None else b
    out = from_three(ops, ops.correlate(to_three(ops, images, 2), weights, bias, groups=groups, **where), images)
    return without_batch(ops, out, x, spatial)
