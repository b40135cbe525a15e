"""Number of elements along axes, as a graph value.

    out = Π n over the axes

Shapes: `axis` is one axis, a list of them, or None for all; out is a scalar. Dtypes: that of x if it is floating, else float32.
Computed before the program runs; no derivative.
"""

import math

import numpy as np

from graphexec.plugin import Axes, reduced_axes, shape_value


@shape_value(domain=(-4.0, 4.0))
def size(x, *, axis: Axes = None):
    count = math.prod(int(x.shape[a]) for a in reduced_axes(axis, x.ndim, "size"))
    return np.array(count, x.dtype if x.dtype.startswith("float") else "float32")
