"""Number of elements of each window inside the input: the divisor of average_pool.

    out[0, 0, z] = the number of a with z strides + a dilations - padding inside

Shapes: like (batch, channels, depth, height, width), out (1, 1, windows...), of the type of like.
"""

import numpy as np
from graphexec_ops._examples import calls, floats
from graphexec_ops.convolution._examples import PADDED, QUADS
from graphexec_ops.convolution._windows import AXES, Six, Three, check_axes, out_sizes

from graphexec.plugin import TensorSpec, shape_value


def _along(size, count, kernel, stride, before, dilation):
    """Returns the counts along one axis: element a of window z is inside if 0 <= z stride + a dilation - before < size."""
    first = before - np.arange(count) * stride
    low, high = np.maximum(-(-first // dilation), 0), np.minimum(-(-(first + size) // dilation), kernel)
    return np.maximum(high - low, 0)


def _spec(like, *, size, strides, padding, dilations):
    check_axes("window_counts", like=(like.shape, 5))
    return TensorSpec((1, 1, *out_sizes("window_counts", like.shape[2:], size, strides, padding, dilations)), like.dtype)


_examples = calls(
    floats((2, 3, 1, 6, 4), size=(1, 2, 2), **QUADS), floats((0, 2, 3, 4, 5), size=(2, 2, 3), **PADDED),
)  # fmt: skip


@shape_value(shape=_spec, examples=_examples)
def window_counts(like, *, size: Three, strides: Three, padding: Six, dilations: Three):
    counts = out_sizes("window_counts", like.shape[2:], size, strides, padding, dilations)
    total = np.ones((1, 1), like.dtype)
    for axis in range(AXES):
        facts = (size[axis], strides[axis], padding[axis], dilations[axis])
        total = total[..., None] * _along(int(like.shape[2 + axis]), int(counts[axis]), *facts).astype(like.dtype)
    return total
