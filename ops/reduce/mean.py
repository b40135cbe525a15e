"""Mean along axes.

    out = Σ x / n
    d_x = d_out / n, repeated along the axes

Shapes: as sum. Dtypes: any; out is of x's type if that is floating, else float64, as in NumPy. No elements
give NaN. Error bound: as sum.
"""

from graphexec_ops._examples import floats
from graphexec_ops.reduce._examples import reductions

from graphexec.plugin import Axes, composite, ops


@composite(domain=(-4.0, 4.0), kinds="fib", onnx="ReduceMean", examples=reductions(floats, empty=False))
def mean(x, *, axis: Axes = None, keepdims=False):
    if not x.dtype.startswith("float"):
        x = ops.cast(x, dtype="float64")
    return ops.sum(x, axis=axis, keepdims=keepdims) / ops.size(x, axis=axis)
