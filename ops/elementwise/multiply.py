"""Product of broadcast operands, element by element.

    out = x * y
    d_x = d_out * y
    d_y = d_out * x

Shapes: broadcast, as in NumPy. Dtypes: floating and integer.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=np.multiply, domain=(-4.0, 4.0), kinds="fi", exact=True, onnx="Mul", commutative=True, neutral={0: 1.0, 1: 1.0},
)  # fmt: skip
def multiply(x, y):
    return x * y


@multiply.gradient
def _(d_out, x, y):  # written in ops: the delta of a constant factor is dead code, and its operands can be freed early
    return d_out * y, d_out * x
