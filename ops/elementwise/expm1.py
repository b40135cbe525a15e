"""e**x - 1, accurate near 0, element by element.

    out = e**x - 1
    d_x = d_out * e**x

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.expm1`. expm1(-inf) = -1. The derivative is computed from x,
because out + 1 has no correct digit where x is very negative.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(np.expm1), domain=(-3.0, 3.0))
def expm1(x):
    return math.expm1(x)


@expm1.backward
def _(d_out, x):
    return d_out * math.exp(x)
