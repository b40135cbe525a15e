"""Swish with β = 1.5, the custom op of the benchmark `custom`: a plugin like anyone's.

out = x σ(1.5 x)
d_x = d_out (s + 1.5 out (1 - s)),  s = σ(1.5 x)
"""

import numpy as np

from graphexec.math import sigmoid
from graphexec.plugin import elementwise


@np.errstate(all="ignore")
def _reference(x):
    return x / (1 + np.exp(-1.5 * x))


@elementwise(reference=_reference, domain=(-6.0, 6.0))
def swish15(x):
    return x * sigmoid(1.5 * x)


@swish15.backward
def _(d_out, x, out):
    s = sigmoid(1.5 * x)
    return d_out * (s + 1.5 * out * (1 - s))
