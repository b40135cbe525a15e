"""Remainder of the quotient rounded down, element by element.

    out = x - y * floor(x / y)
    d_x = d_out
    d_y = -d_out * floor(x / y)

Shapes: broadcast, as in NumPy. Dtypes: floating and integer. The sign is that of y. Division by 0 gives 0 for integers, NaN for
floating operands.
"""

import numpy as np

from graphexec.plugin import elementwise, ops


@elementwise(
    reference=np.errstate(all="ignore")(np.remainder), domain={"x": (-4.0, 4.0), "y": (0.5, 4.0)}, kinds="fi", exact=True,
)  # fmt: skip
def remainder(x, y):
    turned = y == -1  # dividing the smallest integer by -1 would stop the process
    rest = (-x if turned else x) % (1 if turned else y)
    return -rest if turned else rest


@remainder.gradient
def _(d_out, x, y):
    return d_out, -(d_out * ops.floor_divide(x, y))
