"""Number of elements of each window inside the input: the divisor of average_pool.

    out[0, 0, z] = the number of a with z strides + a dilations - padding inside

Shapes: like (batch, channels, depth, height, width), out (1, 1, windows...), of the type of like.
"""

import numpy as np
from graphexec_ops.convolution._windows import AXES, out_sizes

from graphexec.plugin import shape_value


def _along(size, count, kernel, stride, before, dilation):
    """Returns the counts along one axis."""
    seen = np.arange(count)[:, None] * stride + np.arange(kernel) * dilation - before
    return np.sum((seen >= 0) & (seen < size), axis=1)


@shape_value
def window_counts(like, *, size, strides, padding, dilations):
    counts = out_sizes("window_counts", like.shape[2:], size, strides, padding, dilations)
    total = np.ones((1, 1), like.dtype)
    for axis in range(AXES):
        facts = (size[axis], strides[axis], padding[axis], dilations[axis])
        total = total[..., None] * _along(int(like.shape[2 + axis]), int(counts[axis]), *facts).astype(like.dtype)
    return total
