"""Weights of 1 for each channel separately: with them, correlate sums each window.

    out = 1

Shapes: like (batch, channels, ...), out (1, channels, 1, size...), of the type of like.
"""

import numpy as np
from graphexec_ops._examples import calls, floats
from graphexec_ops.convolution._windows import Three, check_axes

from graphexec.plugin import TensorSpec, shape_value


def _spec(like, *, size):
    check_axes("window_ones", like=(like.shape, 5))
    return TensorSpec((1, like.shape[1], 1, *size), like.dtype)


@shape_value(shape=_spec, examples=calls(floats((2, 3, 1, 6, 4), size=(1, 2, 2)), floats((0, 1, 3, 4, 5), size=(2, 2, 3))))
def window_ones(like, *, size: Three):
    return np.broadcast_to(np.ones((), like.dtype), (1, like.shape[1], 1, *size))
