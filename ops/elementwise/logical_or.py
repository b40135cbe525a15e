"""Whether at least one operand is true, element by element.

    out = x or y

Shapes: broadcast, as in NumPy. Dtypes: bool. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.logical_or, domain=(0, 1), kinds="b", types={"out": "bool"}, differentiable=False, exact=True, onnx="Or")
def logical_or(x, y):
    return x | y
