"""Hyperbolic tangent, element by element.

    out = tanh(x)
    d_x = d_out * (1 - out**2)

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.tanh`; saturates to +-1 without overflow.
Source: DLMF, section 4.34, for the derivative.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=np.tanh, domain=(-4.0, 4.0), onnx="Tanh")
def tanh(x):
    return math.tanh(x)


@tanh.backward
def _(d_out, out):  # does not take x, so its buffer can be reused
    return d_out * (1 - out * out)
