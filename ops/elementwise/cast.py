"""Conversion to another element type.

    out = x as dtype
    d_x = d_out as x's dtype, between floating types; no delta flows through others

Shapes: any. Dtypes: any to any. Floating to integer truncates towards 0; a number beyond the integer type gives its nearest end,
and NaN gives 0, on every machine. A wider integer to a narrower one keeps the low bits, as in NumPy. A number beyond float32
becomes an infinity. To bool: whether x is not 0; NaN is not.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import DType, elementwise, ops


@np.errstate(all="ignore")
def _reference(x, *, dtype):
    x, target = np.asarray(x), np.dtype(dtype)
    if x.dtype.kind != "f" or target.kind != "i":
        return x.astype(target)
    low, end = float(np.iinfo(target).min), -float(np.iinfo(target).min)  # powers of 2; the largest integer has no exact float
    held = np.where((x >= low) & (x < end), x, 0).astype(target)
    return np.where(x >= end, np.iinfo(target).max, np.where(x < low, np.iinfo(target).min, held)).astype(target)


@elementwise(
    reference=_reference, domain=(-4.0, 4.0), kinds="fib", exact=True, onnx="Cast", identity_function=True,
    examples=calls(floats((2, 3), dtype="float64"), floats((2, 3), dtype="float32")),
)  # fmt: skip
def cast(x, *, dtype: DType):
    return x  # the engine stores it as dtype


@cast.gradient
def _(d_out, x, *, dtype):
    between_floats = str(x.dtype).startswith("float") and str(d_out.dtype).startswith("float")
    return ops.cast(d_out, dtype=x.dtype) if between_floats else None
