"""Tangent, element by element.

    out = tan(x)
    d_x = d_out * (1 + out**2)

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.tan`. NaN at +-inf.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(np.tan), domain=(-1.2, 1.2), onnx="Tan")
def tan(x):
    return math.tan(x)


@tan.backward
def _(d_out, out):
    return d_out * (1 + out * out)
