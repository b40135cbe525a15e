"""Sine, element by element.

    out = sin(x)
    d_x = d_out * cos(x)

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.sin`. NaN at +-inf.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(np.sin), domain=(-4.0, 4.0), onnx="Sin")
def sin(x):
    return math.sin(x)


@sin.backward
def _(d_out, x):
    return d_out * math.cos(x)
