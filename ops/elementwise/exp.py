"""Exponential, element by element.

    out = e**x
    d_x = d_out * out

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.exp`. exp(-inf) = 0; inf above the logarithm of the largest
number.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(np.exp), domain=(-4.0, 4.0), onnx="Exp")
def exp(x):
    return math.exp(x)


@exp.backward
def _(d_out, out):
    return d_out * out
