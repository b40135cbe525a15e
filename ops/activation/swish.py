"""Swish (SiLU for beta = 1), element by element   (Ramachandran et al., 2017).

    out = x * s,  s = 1 / (1 + e**(-beta * x))
    d_x = d_out * (s + beta * out * (1 - s))

Shapes: any. Dtypes: float32, float64. Tends to 0 on the left without overflow; inf at inf, NaN at -inf (-inf * 0); the
derivative is 1 and 0 there.
"""

import numpy as np

from graphexec.math import sigmoid
from graphexec.plugin import elementwise


@np.errstate(all="ignore")
def _reference(x, *, beta):
    return x / (1 + np.exp(-beta * x))


@elementwise(reference=_reference, domain=(-6.0, 6.0))
def swish(x, *, beta=1.0):
    return x * sigmoid(beta * x)


@swish.backward
def _(d_out, x, out, *, beta):
    s = sigmoid(beta * x)
    rest = 1 - s
    inner = 0.0 if rest == 0 or s == 0 else out  # where x is infinite, out * rest is NaN
    return d_out * (s + beta * inner * rest)
