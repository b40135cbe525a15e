"""Absolute value, element by element.

    out = |x|
    d_x = d_out * sign(x)

Shapes: any. Dtypes: floating and integer. d_x = 0 at 0 and NaN at NaN.
"""

from builtins import abs as magnitude  # in this file `abs` is the op

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.abs, domain=(-4.0, 4.0), kinds="fi", exact=True, onnx="Abs")
def abs(x):
    return magnitude(x)


@abs.backward
def _(d_out, x):
    return d_out if x > 0 else -d_out if x < 0 else 0 * x
