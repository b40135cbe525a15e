"""log(1 + x), accurate near 0, element by element.

    out = log(1 + x)
    d_x = d_out / (1 + x)

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.log1p`. -inf at -1, NaN below -1.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(np.log1p), domain=(-0.8, 4.0))
def log1p(x):
    return math.log1p(x)


@log1p.backward
def _(d_out, x):
    return d_out / (1 + x)
