"""Soft clipping, a smooth version of clip to [-limit, limit] that keeps small values.

    out = limit * tanh(x / limit)
    d_x = d_out * (1 - (out / limit)**2)

Shapes: x and out alike, any rank. Dtypes: float32, float64. The limit is above 0.
"""

from typing import Annotated

import numpy as np

from graphexec import math
from graphexec.plugin import Range, elementwise


@elementwise(reference=lambda x, *, limit=1.0: limit * np.tanh(x / limit), domain=(-4.0, 4.0))
def soft_clip(x, *, limit: Annotated[float, Range(above=0.0)] = 1.0):
    return limit * math.tanh(x / limit)


@soft_clip.backward
def _(d_out, out, *, limit):
    t = out / limit
    return d_out * (1 - t * t)
