"""The larger of two broadcast operands, element by element.

    out = max(x, y)
    d_x = d_out where x > y, d_out / 2 where x = y, 0 where x < y;  d_y likewise

Shapes: broadcast, as in NumPy. Dtypes: floating and integer. NaN in either operand gives NaN. At a tie each operand gets half of
the delta, as in JAX and PyTorch; if either is NaN, both get all of it, as in PyTorch.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=lambda x, y: np.where((x >= y) | (x != x), x, y), domain=(-4.0, 4.0), kinds="fi", exact=True, onnx="Max",
)  # fmt: skip
def maximum(x, y):
    return x if x >= y or x != x else y  # x != x: x is NaN


@maximum.backward
def _(d_out, x, y):
    rest = 0.5 * d_out if x == y else d_out
    return 0.0 if x < y else rest, 0.0 if x > y else rest
