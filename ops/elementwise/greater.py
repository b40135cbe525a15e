"""Whether x is greater than y, element by element.

    out = x > y

Shapes: broadcast, as in NumPy. Dtypes: floating and integer, of one kind; out is bool. False if either operand is NaN. No
derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=np.greater, domain=(-4.0, 4.0), kinds="fi", types={"out": "bool"}, differentiable=False, exact=True, onnx="Greater",
)  # fmt: skip
def greater(x, y):
    return x > y
