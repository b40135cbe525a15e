"""Whether the operand is false, element by element.

    out = not x

Shapes: any. Dtypes: bool. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=np.logical_not, domain=(0, 1), kinds="b", types={"out": "bool"}, differentiable=False, exact=True, onnx="Not",
)  # fmt: skip
def logical_not(x):
    return not x
