"""Zeros with slices added at indices along an axis: the gradient of gather.

    out[before, j, after] = Σ d[before, i, after] over the i with indices[i] = j
    d_d = gather(d_out, indices)

Shapes: out has the shape of like, (before..., n, after...); d is (before..., indices' shape..., after...). Dtypes: d floating or
integer; indices int32 or int64, as in gather. Slices with the same index are added in the order of indices, so runs repeat bit for
bit. *Raises* KernelError when an index is out of range.
"""

import numpy as np

from graphexec.plugin import ShapeError, TensorSpec, kernel, normalize_axes, ops


def _shape(d, indices, like, *, axis=0):
    (a,) = normalize_axes(axis, like.ndim, "scatter_add")
    if d.shape != (*like.shape[:a], *indices.shape, *like.shape[a + 1 :]):
        raise ShapeError("the slices do not have the shape that gather gives", todo="It is that of gather(like, indices).")
    return TensorSpec(like.shape, d.dtype)


def _reference(d, indices, like, *, axis=0):
    out = np.zeros(np.shape(like), d.dtype)
    axis = axis % out.ndim
    slices = d.reshape(*out.shape[:axis], np.size(indices), *out.shape[axis + 1 :])
    np.add.at(np.moveaxis(out, axis, 0), np.ravel(indices), np.moveaxis(slices, axis, 0))
    return out


@kernel(
    shape=_shape, shape_only=("like",), reference=_reference, kinds="fi", types={"indices": "int64"},
    domain={"d": (-4.0, 4.0), "indices": (0, 1)}, errors={1: "an index is out of range"},
)  # fmt: skip
def scatter_add(d, indices, out, *, axis=0):
    axis = axis % out.ndim
    n, outer, inner = out.shape[axis], 1, 1
    for a in range(axis):
        outer *= out.shape[a]
    for a in range(axis + 1, out.ndim):
        inner *= out.shape[a]
    source, which, target = d.reshape(-1), indices.reshape(-1), out.reshape(-1)
    count = which.size
    for k in range(count):
        if which[k] < -n or which[k] >= n:
            return 1
    target[:] = 0
    for o in range(outer):
        for k in range(count):
            index = which[k] + n if which[k] < 0 else which[k]
            at, to = (o * count + k) * inner, (o * n + index) * inner
            for j in range(inner):
                target[to + j] += source[at + j]
    return 0


@scatter_add.gradient
def _(d_out, indices, *, axis):
    return ops.gather(d_out, indices, axis=axis)
