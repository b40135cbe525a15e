"""Product of broadcast operands, element by element.

    out = x * y
    d_x = d_out * y
    d_y = d_out * x

Shapes: broadcast, as in NumPy. Dtypes: floating and integer.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.multiply, domain=(-4.0, 4.0), kinds="fi", onnx="Mul")
def multiply(x, y):
    return x * y


@multiply.backward
def _(d_out, x, y):
    return d_out * y, d_out * x
