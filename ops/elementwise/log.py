"""Natural logarithm, element by element.

    out = log(x)
    d_x = d_out / x

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.log`. log(+-0) = -inf, log(x < 0) = NaN.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(np.log), domain=(0.1, 4.0), onnx="Log")
def log(x):
    return math.log(x)


@log.backward
def _(d_out, x):
    return d_out / x
