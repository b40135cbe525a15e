"""Exponential linear unit, element by element   (Clevert et al., 2016).

    out = x where x > 0, else alpha * (e**x - 1)
    d_x = d_out where x > 0, else d_out * alpha * e**x

Shapes: any. Dtypes: float32, float64. out is -alpha at -inf, and the derivative at 0 is alpha. alpha may be negative, so the
rule takes x.
"""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@np.errstate(all="ignore")
def _reference(x, *, alpha):
    return np.where(x > 0, x, alpha * np.expm1(x))


@elementwise(reference=_reference, domain=(-4.0, 4.0), onnx="Elu")
def elu(x, *, alpha=1.0):
    below = alpha * math.expm1(x)  # computed for every x, so that the loop has no branch
    return x if x > 0 else below


@elu.backward
def _(d_out, x, *, alpha):
    below = d_out * alpha * math.exp(x)
    return d_out if x > 0 else below
