"""Chooses between broadcast operands, element by element.

    out = x where condition else y
    d_x = d_out where condition else 0
    d_y = 0 where condition else d_out

Shapes: broadcast, as in NumPy. Dtypes: condition bool; x and y of one kind, any. The operand that is not chosen has no effect, even
if it is NaN.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.where, domain=(-4.0, 4.0), kinds="fib", types={"condition": "bool"}, exact=True, onnx="Where")
def where(condition, x, y):
    return x if condition else y


@where.backward
def _(d_out, condition):
    return d_out if condition else 0.0, 0.0 if condition else d_out
