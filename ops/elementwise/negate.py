"""Negation, element by element.

    out = -x
    d_x = -d_out

Shapes: any. Dtypes: floating and integer.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.negative, domain=(-4.0, 4.0), kinds="fi", exact=True, onnx="Neg", involution=True)
def negate(x):
    return -x


@negate.gradient
def _(d_out):
    return -d_out
