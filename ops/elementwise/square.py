"""Square, element by element.

    out = x**2
    d_x = 2 * d_out * x

Shapes: any. Dtypes: floating and integer. Overflows to inf.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.errstate(all="ignore")(np.square), domain=(-4.0, 4.0), exact=True, kinds="fi")
def square(x):
    return x * x


@square.backward
def _(d_out, x):
    return 2 * d_out * x
