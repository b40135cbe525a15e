"""Sum along axes.

    out = Σ x
    d_x = d_out, repeated along the axes

Shapes: `axis` is one axis, a list of them, or None for all; they are removed, or kept with size 1 if keepdims. Dtypes: floating and
integer; out is of x's type. No elements give 0. The shape alone determines the order of additions.
"""

import numpy as np

from graphexec.plugin import ops, reduction


@reduction(identity=0.0, reference=np.sum, domain=(-4.0, 4.0), kinds="fi", onnx="ReduceSum")
def sum(accumulated, x):
    return accumulated + x


@sum.gradient
def _(d_out, x, *, axis, keepdims):
    return ops.expand_like(d_out, x, axis=axis, keepdims=keepdims)
