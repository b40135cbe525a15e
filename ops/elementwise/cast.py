"""Conversion to another element type.

    out = x as dtype
    d_x = d_out as x's dtype, between floating types; no delta flows through others

Shapes: any. Dtypes: any to any. Floating to integer truncates; a value that the integer type cannot hold, such as NaN, gives an
undefined result. To bool: whether x is not 0.
"""

import numpy as np

from graphexec.plugin import elementwise, ops


@np.errstate(all="ignore")
def _reference(x, *, dtype):
    return np.asarray(x).astype(dtype)


@elementwise(reference=_reference, domain=(-4.0, 4.0), kinds="fib", onnx="Cast", identity_function=True)
def cast(x, *, dtype):
    return x  # the engine stores it as dtype


@cast.gradient
def _(d_out, x, *, dtype):
    between_floats = str(x.dtype).startswith("float") and str(d_out.dtype).startswith("float")
    return ops.cast(d_out, dtype=x.dtype) if between_floats else None
