"""Cosine, element by element.

    out = cos(x)
    d_x = -d_out * sin(x)

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.cos`. NaN at +-inf.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(np.cos), domain=(-4.0, 4.0), onnx="Cos")
def cos(x):
    return math.cos(x)


@cos.backward
def _(d_out, x):
    return -d_out * math.sin(x)
