"""Leaky rectified linear unit, element by element   (Maas et al., 2013).

    out = x where x > 0, else alpha * x
    d_x = d_out where x > 0, else alpha * d_out

Shapes: any. Dtypes: float32, float64. The derivative at 0 is alpha; alpha may be negative, so the rule takes x, not out.
"""

import numpy as np

from graphexec.plugin import elementwise


@np.errstate(all="ignore")
def _reference(x, *, alpha):
    return np.where(x > 0, x, alpha * x)


@elementwise(reference=_reference, domain=(-4.0, 4.0), onnx="LeakyRelu")
def leaky_relu(x, *, alpha=0.01):
    return x if x > 0 else alpha * x


@leaky_relu.backward
def _(d_out, x, *, alpha):
    return d_out if x > 0 else alpha * d_out
