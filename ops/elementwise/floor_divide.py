"""Quotient rounded down, element by element.

    out = floor(x / y)
    d_x = d_y = 0: no delta flows back

Shapes: broadcast, as in NumPy. Dtypes: floating and integer. Division by 0 gives 0 for integers, and x / 0 for floating operands,
as in NumPy. Of floating operands the remainder is exact, so 1.0 // 0.1 is 9: 0.1 is a little more than a tenth.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=np.errstate(all="ignore")(np.floor_divide), domain={"x": (-4.0, 4.0), "y": (0.5, 4.0)}, kinds="fi", exact=True,
)  # fmt: skip
def floor_divide(x, y):
    turned = y == -1  # dividing the smallest integer by -1 would stop the process
    return (-x if turned else x) // (1 if turned else y)


@floor_divide.gradient
def _(d_out):
    return None, None
