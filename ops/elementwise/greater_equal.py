"""Whether x is greater than or equal to y, element by element.

    out = x >= y

Shapes: broadcast, as in NumPy. Dtypes: floating and integer, of one kind; out is bool. False if either operand is NaN. No
derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=np.greater_equal, domain=(-4.0, 4.0), kinds="fi", types={"out": "bool"}, differentiable=False, exact=True,
    onnx="GreaterOrEqual",
)  # fmt: skip
def greater_equal(x, y):
    return x >= y
