"""Gaussian error linear unit, element by element   (Hendrycks and Gimpel, 2016).

    approximate="none":  out = x * Φ(x),  Φ(x) = (1 + erf(x / sqrt(2))) / 2
                         d_x = d_out * (Φ(x) + x * φ(x)),  φ(x) = e**(-x**2 / 2) / sqrt(2 pi)
    approximate="tanh":  out = x * (1 + t) / 2,  t = tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))
                         d_x = d_out * ((1 + t) / 2 + x * (1 - t**2) / 2 * sqrt(2 / pi) * (1 + 0.134145 * x**2))

Shapes: any. Dtypes: float32, float64. The absolute error is a few units in the last place of x; for x below -5, Φ loses
relative precision to cancellation, as in PyTorch. inf at inf, NaN at -inf (-inf * 0); the
derivative is 1 and 0 there.
"""

from typing import Literal

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise


@np.errstate(all="ignore")
def _reference(x, *, approximate):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(float(np.sqrt(2 / np.pi)) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + math.erf(x * float(np.sqrt(0.5))))


@elementwise(reference=_reference, domain=(-4.0, 4.0), onnx="Gelu")
def gelu(x, *, approximate: Literal["none", "tanh"] = "none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + math.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))  # sqrt(2 / pi)
    return 0.5 * x * (1 + math.erf(0.7071067811865476 * x))


@gelu.backward
def _(d_out, x, *, approximate):
    if approximate == "tanh":
        t = math.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))
        rest = 1 - t * t  # 0 before x * x overflows
        inner = 0.0 if rest == 0 else x  # where x is infinite, 0 * x is NaN
        slope = 0.5 * inner * rest
        return d_out * (0.5 * (1 + t) + 0.7978845608028654 * slope + 0.1070322244089897 * slope * inner * inner)
    density = 0.3989422804014327 * math.exp(-0.5 * x * x)  # 1 / sqrt(2 pi)
    inner = 0.0 if density == 0 else x  # where x is infinite, 0 * x is NaN
    return d_out * (0.5 * (1 + math.erf(0.7071067811865476 * x)) + inner * density)
