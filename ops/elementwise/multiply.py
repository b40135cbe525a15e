"""Product of broadcast operands, element by element.

    out = x * y
    d_x = d_out * y
    d_y = d_out * x

Shapes: broadcast, as in NumPy. Dtypes: floating and integer.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.multiply, domain=(-4.0, 4.0), kinds="fi", onnx="Mul", commutative=True, neutral={0: 1.0, 1: 1.0})
def multiply(x, y):
    return x * y


@multiply.gradient
def _(d_out, x, y):  # made of ops: the delta of a constant factor is not computed, and nothing waits for what only it reads
    return d_out * y, d_out * x
