"""Number of elements along axes, as a graph value.

    out = Π n over the axes

Shapes: `axis` is one axis, a list of them, or None for all; out is a scalar. Dtypes: that of x if it is floating, else float32.
Computed before the program runs; no derivative.
"""

import math

import numpy as np
from graphexec_ops._examples import calls, floats, integers

from graphexec.plugin import Axes, reduced_axes, shape_value

_examples = calls(
    floats((2, 3)), floats((2, 3), axis=0), floats((2, 3, 4), axis=(0, -1)), floats((0, 3)), floats(()), integers((2, 3)),
)  # fmt: skip


@shape_value(domain=(-4.0, 4.0), examples=_examples)
def size(x, *, axis: Axes = None):
    count = math.prod(int(x.shape[a]) for a in reduced_axes(axis, x.ndim, "size"))
    return np.array(count, x.dtype if x.dtype.startswith("float") else "float32")
