"""Both bits, bit by bit of each element.

    out = x & y

Shapes: broadcast, as in NumPy. Dtypes: integer. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.bitwise_and, domain=(-9, 9), kinds="i", differentiable=False, exact=True, onnx="BitwiseAnd")
def bitwise_and(x, y):
    return x & y
