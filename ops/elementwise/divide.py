"""Quotient of broadcast operands.

    out = x / y
    d_x = d_out / y
    d_y = -d_out * x / y**2 = -d_x * out

Shapes: broadcast, as in NumPy. Dtypes: float32, float64. Division by 0 gives +-inf, 0 / 0 gives NaN (IEEE 754).
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=np.errstate(all="ignore")(np.divide), domain={"x": (-4.0, 4.0), "y": (0.5, 4.0)}, exact=True, onnx="Div",
    neutral={1: 1.0},
)
def divide(x, y):
    return x / y


@divide.gradient
def _(d_out, y, out):  # written in ops, so that d_x waits for neither x nor out
    d_x = d_out / y
    return d_x, -(d_x * out)
