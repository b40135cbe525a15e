"""Square root, element by element.

    out = sqrt(x)
    d_x = d_out / (2 * out)

Shapes: any. Dtypes: float32, float64. Correctly rounded. sqrt(-0) = -0, sqrt(x < 0) = NaN; d_x is inf at 0.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(np.sqrt), domain=(0.1, 4.0), exact=True, onnx="Sqrt")
def sqrt(x):
    return math.sqrt(x)


@sqrt.backward
def _(d_out, out):
    return 0.5 * d_out / out
