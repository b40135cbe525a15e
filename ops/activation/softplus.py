"""Softplus, a smooth rectifier, element by element   (Dugas et al., 2001).

    out = log(1 + e**x)
    d_x = d_out * sigmoid(x) = d_out * (1 - e**-out)

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.softplus`. 0 at -inf, inf at inf, no overflow on either side.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(lambda x: np.logaddexp(x, 0)), domain=(-6.0, 6.0), onnx="Softplus")
def softplus(x):
    return math.softplus(x)


@softplus.backward
def _(d_out, out):  # expm1 keeps full precision for small out; taking out frees x's buffer
    return -d_out * math.expm1(-out)
