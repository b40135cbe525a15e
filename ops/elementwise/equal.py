"""Whether operands are equal, element by element.

    out = x == y

Shapes: broadcast, as in NumPy. Dtypes: any, of one kind; out is bool. NaN equals nothing, not even itself. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=np.equal, domain=(-4.0, 4.0), kinds="fib", types={"out": "bool"}, differentiable=False, exact=True, onnx="Equal",
)  # fmt: skip
def equal(x, y):
    return x == y
