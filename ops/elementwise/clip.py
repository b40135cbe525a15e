"""Limits values to a range, element by element.

    out = min(max(x, low), high)
    d_x = d_out where low <= x <= high, else 0

Shapes: any. Dtypes: float32, float64. NaN stays NaN and passes its delta on; a bound of NaN makes out NaN
and stops the delta, as in PyTorch. If low > high, out is high, as in NumPy.
"""

from typing import Annotated

import numpy as np

from graphexec.plugin import Range, elementwise


@elementwise(reference=lambda x, *, low, high: np.clip(x, low, high), domain=(-4.0, 4.0), onnx="Clip")
def clip(x, *, low: Annotated[float, Range(nan=True)] = -np.inf, high: Annotated[float, Range(nan=True)] = np.inf):
    raised = x if x >= low or x != x else low  # x != x: x is NaN
    return raised if raised <= high or raised != raised else high


@clip.backward
def _(d_out, x, *, low, high):  # takes x, not out, because the delta passes at x = low
    return d_out if (x >= low and x <= high) or x != x else 0.0
