"""Whether x is greater than y or equal to it, element by element.

    out = x >= y

Shapes: broadcast, as in NumPy. Dtypes: floating and integer, of one kind; out is bool. False beside NaN. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=np.greater_equal, domain=(-4.0, 4.0), kinds="fi", types={"out": "bool"}, differentiable=False, onnx="GreaterOrEqual",
)  # fmt: skip
def greater_equal(x, y):
    return x >= y
