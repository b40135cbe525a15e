"""Rectified linear unit, element by element.

    out = max(x, 0)
    d_x = d_out where out > 0, else 0

Shapes: any. Dtypes: float32, float64. The derivative at 0 is 0; NaN stays NaN and passes its delta on.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=lambda x: np.maximum(x, 0), domain=(-4.0, 4.0), onnx="Relu")
def relu(x):
    return 0.0 if x <= 0 else x


@relu.backward
def _(d_out, out):
    return 0.0 if out <= 0 else d_out
