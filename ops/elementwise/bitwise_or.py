"""Either bit, bit by bit of each element.

    out = x | y

Shapes: broadcast, as in NumPy. Dtypes: integer. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.bitwise_or, domain=(-9, 9), kinds="i", differentiable=False, exact=True, onnx="BitwiseOr")
def bitwise_or(x, y):
    return x | y
