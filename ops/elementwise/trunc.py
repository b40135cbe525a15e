"""The whole number next to x towards 0, element by element.

    out = sign(x) * floor(|x|)
    d_x = 0: no delta flows back

Shapes: any. Dtypes: float32, float64. Exact; infinities and NaN stay unchanged.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.trunc, domain=(-4.0, 4.0), exact=True)
def trunc(x):
    return np.trunc(x)


@trunc.gradient
def _(d_out):
    return None
