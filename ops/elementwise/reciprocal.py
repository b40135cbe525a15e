"""Reciprocal, element by element.

    out = 1 / x
    d_x = -d_out * out**2

Shapes: any. Dtypes: float32, float64. Correctly rounded. +-inf at +-0, +-0 at +-inf.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(np.reciprocal), domain=(0.5, 4.0), exact=True, onnx="Reciprocal")
def reciprocal(x):
    return 1 / x


@reciprocal.backward
def _(d_out, out):
    return -d_out * out * out
