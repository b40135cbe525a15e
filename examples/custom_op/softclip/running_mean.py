"""Running mean over the last axis: element i is the mean of elements 0 to i.

    out[i] = (x[0] + ... + x[i]) / (i + 1)
    d_x[j] = sum over i >= j of d_out[i] / (i + 1)

Shapes: (..., n) and (..., n). Dtypes: float32, float64. The sums run in one direction, so they repeat bit for bit.
"""

import numpy as np

from graphexec.plugin import kernel


@kernel("(n)->(n)", reference=lambda x: np.cumsum(x, axis=-1) / np.arange(1, np.shape(x)[-1] + 1), domain=(-2.0, 2.0))
def running_mean(x, out):
    total = 0.0
    for i in range(x.size):
        total += x[i]
        out[i] = total / (i + 1)


@running_mean.backward
def _(d_out, d_x):
    total = 0.0
    for i in range(d_out.size - 1, -1, -1):
        total += d_out[i] / (i + 1)
        d_x[i] = total
