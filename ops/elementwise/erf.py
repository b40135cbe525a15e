"""Error function, element by element.

    out = 2 / sqrt(pi) * integral of e**(-t**2) over [0, x]
    d_x = d_out * 2 / sqrt(pi) * e**(-x**2)

Shapes: any. Dtypes: float32, float64. Error: that of `graphexec.math.erf`. +-1 at +-inf. Source: DLMF, section 7.2.
"""

from graphexec import math
from graphexec.plugin import elementwise


@elementwise(reference=math.erf, domain=(-3.0, 3.0), onnx="Erf")
def erf(x):
    return math.erf(x)


@erf.backward
def _(d_out, x):
    return 1.1283791670955126 * d_out * math.exp(-x * x)  # 2 / sqrt(pi)
