"""Power of broadcast operands.

    out = x**y
    d_x = d_out * y * x**(y - 1)
    d_y = d_out * out * log(x)

Shapes: broadcast, as in NumPy. Dtypes: float32, float64. Error: that of `graphexec.math.pow`, whose special values are C99's:
x**0 = 1 and 1**y = 1 even for NaN; x < 0 needs an integer y, otherwise out is NaN. Both deltas are finite at x = 0 for y >= 1;
d_x = 0 for y = 0, and d_y = 0 for x = 0 and y >= 0. At infinite operands both are 0 where out tends to 0. For x < 0, d_y is NaN,
because out is not a smooth function of y.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(
    reference=np.errstate(all="ignore")(np.power), domain={"x": (0.2, 3.0), "y": (-2.0, 2.0)}, onnx="Pow",
)  # fmt: skip
def power(x, y):
    return math.pow(x, y)


@power.backward
def _(d_out, x, y, out):
    slope = math.pow(x, y - 1)
    d_x = d_out * y * slope
    d_y = d_out * out * math.log(x)
    flat = y == 0 or (slope == 0 and y - y != 0)  # y - y != 0: y is infinite
    level = (x == 0 and y >= 0) or (x - x != 0 and out == 0)
    return 0.0 if flat else d_x, 0.0 if level else d_y
