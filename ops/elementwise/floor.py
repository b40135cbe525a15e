"""Largest whole number not above x, element by element.

    out = floor(x)
    d_x = 0: no delta flows back

Shapes: any. Dtypes: float32, float64. Exact; infinities and NaN stay unchanged.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.floor, domain=(-4.0, 4.0), exact=True, onnx="Floor")
def floor(x):
    return np.floor(x)


@floor.gradient
def _(d_out):
    return None
