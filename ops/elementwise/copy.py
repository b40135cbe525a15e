"""Copies values to new contiguous memory, for any strides of x.

    out = x
    d_x = d_out

Shapes: any. Dtypes: any.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.array, domain=(-4.0, 4.0), kinds="fib", exact=True, onnx="Identity", identity_function=True)
def copy(x):
    return x


@copy.gradient
def _(d_out):
    return d_out
