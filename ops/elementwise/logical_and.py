"""Whether both operands are true, element by element.

    out = x and y

Shapes: broadcast, as in NumPy. Dtypes: bool. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=np.logical_and, domain=(0, 1), kinds="b", types={"out": "bool"}, differentiable=False, exact=True, onnx="And",
)  # fmt: skip
def logical_and(x, y):
    return x & y
