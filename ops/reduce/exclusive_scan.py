"""Linear recurrence along an axis, in which each element of out precedes the operands with its index.

    out[0] = initial
    out[i + 1] = a[i] out[i] + b[i]
    d_b = the same recurrence, backwards, of a and d_out from 0
    d_a = out d_b

Shapes: a, b and out equal; the recurrence runs along `axis`, with reverse=True from its end. Dtypes: float32, float64. Products of
the elements before each one, without a division, are the case b = 0, initial = 1. Differentiable any number of times.
Source: Blelloch, "Prefix sums and their applications", 1990, section 1.4.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import kernel, ops


@np.errstate(all="ignore")
def _reference(a, b, *, axis=-1, initial=0.0, reverse=False):
    a, b = (np.moveaxis(v, axis, 0)[::-1] if reverse else np.moveaxis(v, axis, 0) for v in np.broadcast_arrays(a, b))
    out = np.full(a.shape, initial, np.result_type(a, b))
    for i in range(1, a.shape[0]):
        out[i] = a[i - 1] * out[i - 1] + b[i - 1]
    return np.moveaxis(out[::-1] if reverse else out, 0, axis)


_examples = calls(
    floats((2, 3), (2, 3)), floats((4,), (4,), initial=1.0), floats((2, 3, 4), (2, 3, 4), axis=0, reverse=True),
    floats((2, 3, 4), (2, 3, 4), axis=1), floats((3, 1), (3, 1)), floats((0, 3), (0, 3)), floats((2, 0), (2, 0)),
    floats((3, 4), (4,), initial=0.5, reverse=True), sized=lambda size: floats((3, size), (3, size), low=-0.9, high=0.9),
)  # fmt: skip


@kernel("(n),(n)->(n)", reference=_reference, domain=(-2.0, 2.0), examples=_examples)
def exclusive_scan(a, b, out, *, axis=-1, initial=0.0, reverse=False):  # the engine moves the axis to the end
    last = a.size - 1
    for i in range(a.size):
        to = last - i if reverse else i
        if i == 0:
            out[to] = initial
        else:
            at = to + 1 if reverse else to - 1
            out[to] = a[at] * out[at] + b[at]


@exclusive_scan.gradient
def _(d_out, a, out, *, axis, reverse):
    d_b = ops.exclusive_scan(a, d_out, axis=axis, reverse=not reverse)
    return out * d_b, d_b
