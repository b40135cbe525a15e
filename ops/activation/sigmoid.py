"""Logistic function, element by element.

    out = 1 / (1 + e**-x)
    d_x = d_out * out * (1 - out)

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.sigmoid`. 0 at -inf, 1 at inf, no overflow on either side.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@np.errstate(all="ignore")
def _reference(x):
    return 1 / (1 + np.exp(-x))


@elementwise(reference=_reference, domain=(-6.0, 6.0), onnx="Sigmoid")
def sigmoid(x):
    return math.sigmoid(x)


@sigmoid.backward
def _(d_out, out):
    return d_out * out * (1 - out)
