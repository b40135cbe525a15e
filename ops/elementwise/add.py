"""Addition of broadcast operands.

    out = x + y
    d_x = d_y = d_out

Shapes: broadcast, as in NumPy. Dtypes: floating and integer.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.add, domain=(-4.0, 4.0), kinds="fi", exact=True, onnx="Add", commutative=True, neutral={0: -0.0, 1: -0.0})
def add(x, y):
    return x + y


@add.gradient
def _(d_out):
    return d_out, d_out
