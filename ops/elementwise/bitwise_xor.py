"""One bit of two, not both, bit by bit of each element.

    out = x ^ y

Shapes: broadcast, as in NumPy. Dtypes: integer. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.bitwise_xor, domain=(-9, 9), kinds="i", differentiable=False, exact=True, onnx="BitwiseXor")
def bitwise_xor(x, y):
    return x ^ y
