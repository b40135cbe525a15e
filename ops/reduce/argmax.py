"""Index of the largest element along an axis.

    out = the first i with x[i] = max x

Shapes: `axis` is removed, or kept with size 1 if keepdims; it must not be empty. axis=None counts all elements, in row-major order.
A scalar may have axis 0 or -1, as in NumPy. Dtypes: any; out is int64. At a tie the first wins; NaN counts as the largest, as in
NumPy. No derivative.
"""

import numpy as np
from graphexec_ops._examples import calls, floats, integers

from graphexec.plugin import Axes, ShapeError, composite, ops

_examples = calls(
    floats(()), floats((), axis=0, keepdims=True), floats((2, 3), axis=None), floats((2, 3), axis=None, keepdims=True),
    floats((2, 3)), floats((2, 3, 4), axis=0), floats((2, 3, 4), axis=1, keepdims=True), floats((3, 1)), floats((4,)),
    floats((0, 3)), floats((3, 0), axis=0), integers((4, 6), low=0, high=3), sized=lambda size: floats((3, size)),
)  # fmt: skip


@composite(
    reference=lambda x, *, axis=-1, keepdims=False: np.argmax(x, axis=axis, keepdims=keepdims), domain=(-4.0, 4.0), kinds="fib",
    differentiable=False, onnx="ArgMax", examples=_examples,
)  # fmt: skip
def argmax(x, *, axis: Axes = -1, keepdims=False):
    if isinstance(axis, tuple):
        raise ShapeError(f"axis is {axis}", op="argmax", todo="Give one axis, or None for all elements.")
    x = ops.cast(x, dtype="int32") if x.dtype == "bool" else x
    if axis is not None and x.ndim > 0:
        return ops.argmax_along(x, axis=axis, keepdims=keepdims)
    if x.ndim == 0:
        ops.size(x, axis=axis)  # checks it
    first = ops.argmax_along(ops.reshape(x, shape=(-1,)), axis=0)
    return ops.reshape(first, shape=(1,) * x.ndim) if keepdims else first
