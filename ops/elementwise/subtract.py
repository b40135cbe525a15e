"""Difference of broadcast operands.

    out = x - y
    d_x = d_out
    d_y = -d_out

Shapes: broadcast, as in NumPy. Dtypes: floating and integer.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.subtract, domain=(-4.0, 4.0), kinds="fi", exact=True, onnx="Sub", neutral={1: 0.0})
def subtract(x, y):
    return x - y


@subtract.gradient
def _(d_out):
    return d_out, -d_out
