"""Index of the largest element along an axis: implements argmax.

    out = the first i with x[i] = max x

Shapes: `axis` is removed, or kept with size 1 if keepdims; it must not be empty. Dtypes: floating and integer; out is int64.
At a tie the first wins; NaN counts as the largest, as in NumPy. No derivative.
"""

import numpy as np
from graphexec_ops._examples import calls, floats, integers

from graphexec.plugin import ShapeError, kernel, normalize_axes


def _shape(x, *, axis=-1, keepdims=False):
    (a,) = normalize_axes(axis, x.ndim, "argmax_along")
    if x.shape[a] == 0:
        raise ShapeError(f"axis {a} is empty: it has no largest element", op="argmax_along", todo="Give it at least one element.")
    return (*x.shape[:a], *((1,) if keepdims else ()), *x.shape[a + 1 :])


_examples = calls(
    floats((2, 3)), floats((2, 3, 4), axis=0), floats((2, 3, 4), axis=1, keepdims=True), integers((4, 6), low=0, high=3),
    sized=lambda size: floats((3, size)),
)  # fmt: skip


@kernel(
    shape=_shape, reference=lambda x, *, axis=-1, keepdims=False: np.argmax(x, axis=axis, keepdims=keepdims), domain=(-4.0, 4.0),
    kinds="fi", types={"out": "int64"}, differentiable=False, rows=("x",), raises=False, examples=_examples,
)  # fmt: skip
def argmax_along(x, out, *, axis=-1, keepdims=False):
    axis = axis % x.ndim
    n, inner = x.shape[axis], 1
    for a in range(axis + 1, x.ndim):
        inner *= x.shape[a]
    source, target = x.reshape(-1), out.reshape(-1)
    for k in range(target.size):
        first = (k // inner) * n * inner + k % inner
        best, top = 0, source[first]
        for i in range(1, n):
            value = source[first + i * inner]
            if value > top or (value != value and top == top):
                best, top = i, value
        target[k] = best
