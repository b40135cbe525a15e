"""Mean along axes.

    out = Σ x / n
    d_x = d_out / n, repeated along the axes

Shapes: as sum. Dtypes: float32, float64. No elements give NaN. Error bound: as sum.
"""

from graphexec.plugin import composite, ops


@composite(domain=(-4.0, 4.0), onnx="ReduceMean")
def mean(x, *, axis=None, keepdims=False):
    return ops.sum(x, axis=axis, keepdims=keepdims) / ops.size(x, axis=axis)
