"""Every bit of each element inverted.

    out = ~x = -x - 1

Shapes: any. Dtypes: integer. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=np.bitwise_not, domain=(-9, 9), kinds="i", differentiable=False, involution=True, exact=True, onnx="BitwiseNot",
)  # fmt: skip
def bitwise_not(x):
    return ~x
