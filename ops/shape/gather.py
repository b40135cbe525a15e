"""Takes elements along an axis by their indices, as an embedding lookup does.

    out[before, i, after] = x[before, indices[i], after]
    d_x = scatter_add(d_out, indices)

Shapes: x (before..., n, after...) and indices of any shape give (before..., indices' shape..., after...). Dtypes: x any; indices
int32 or int64, from -n to n - 1, where negative ones count from the end. *Raises* KernelError when an index is out of range.
"""

import numpy as np
from graphexec_ops._examples import calls, indexed, integers

from graphexec.plugin import TensorSpec, kernel, normalize_axes, ops


def _shape(x, indices, *, axis=0):
    (a,) = normalize_axes(axis, x.ndim, "gather")
    return TensorSpec((*x.shape[:a], *indices.shape, *x.shape[a + 1 :]), x.dtype)


_examples = calls(
    indexed((5, 3), (4,), -5, 5), indexed((5, 3), (2, 3), 0, 5), indexed((5, 3), (), 0, 5),
    indexed((2, 4, 3), (6,), -4, 4, axis=1), indexed((2, 4), (3,), 0, 4, "int32", axis=-1), indexed((5, 3), (0,), 0, 5),
    indexed((1, 3), (4,), 0, 1), indexed((5, 0), (4,), 0, 5), integers((4, 2), (3,), low=0, high=4),
    sized=lambda size: indexed((size, 3), (size,), -size, size),
)  # fmt: skip


@kernel(
    shape=_shape, reference=lambda x, indices, *, axis=0: np.take(x, indices, axis), kinds="fib", types={"indices": "int64"},
    domain={"x": (-4.0, 4.0), "indices": (0, 1)}, errors={1: "an index is out of range"}, rows=("indices",),
    onnx="Gather", examples=_examples,
)  # fmt: skip
def gather(x, indices, out, *, axis=0):
    axis = axis % x.ndim
    n, outer, inner = x.shape[axis], 1, 1
    for a in range(axis):
        outer *= x.shape[a]
    for a in range(axis + 1, x.ndim):
        inner *= x.shape[a]
    source, which, target = x.reshape(-1), indices.reshape(-1), out.reshape(-1)
    count = which.size
    for k in range(count):
        if which[k] < -n or which[k] >= n:
            return 1
    for o in range(outer):
        for k in range(count):
            index = which[k] + n if which[k] < 0 else which[k]
            at, to = (o * n + index) * inner, (o * count + k) * inner
            for j in range(inner):
                target[to + j] = source[at + j]
    return 0


@gather.gradient
def _(d_out, x, indices, *, axis):
    return ops.scatter_sums(d_out, indices, x, axis=axis)[0]
