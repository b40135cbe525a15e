"""Zeros of the shape and type of a value.

    out = 0

Shapes: that of `like`, any. The engine uses it for the gradient of a value that the loss does not depend on.
"""

import numpy as np
from graphexec_ops._examples import calls, floats, integers

from graphexec.plugin import TensorSpec, shape_value


@shape_value(
    shape=lambda like: TensorSpec(like.shape, like.dtype),
    examples=calls(floats((2, 3)), floats(()), floats((0, 3)), integers((2, 1))),
)  # fmt: skip
def zeros_like(like):
    return np.broadcast_to(np.zeros((), like.dtype), like.shape)
