"""Zeros with a value written into a part of one axis: the gradient of a slice.

    out[..., start + i step, ...] = d[..., i, ...], out = 0 elsewhere
    d_d = slice(d_out)

Shapes: out has the shape of like, and d that of the part of like from `start` to `end` by `step` along `axis`; bounds as in slice.
Dtypes: any. It handles one axis at a time, so that bounds are scalar arguments of the kernel, and new bounds need no compilation.
"""

import builtins
import sys

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import ShapeError, TensorSpec, kernel, normalize_axes, ops


def _shape(d, like, *, axis, start, end, step):
    (a,) = normalize_axes(axis, like.ndim, "unslice")
    if step == 0:
        raise ShapeError("the step is 0", op="unslice", todo="Steps are positive or negative.")
    part = len(range(*builtins.slice(start, end, step).indices(like.shape[a])))
    if d.shape != (*like.shape[:a], part, *like.shape[a + 1 :]):
        raise ShapeError("the value does not have the shape of the part", todo=f"Axis {a} of 'd' must have size {part}.")
    return TensorSpec(like.shape, d.dtype)


def _reference(d, like, *, axis, start, end, step):
    out = np.zeros(np.shape(like), d.dtype)
    np.moveaxis(out, axis, 0)[builtins.slice(start, end, step)] = np.moveaxis(d, axis, 0)
    return out


_examples = calls(
    floats((3, 4), (5, 4), axis=0, start=1, end=4, step=1), floats((2, 2), (2, 4), axis=-1, start=None, end=None, step=2),
    floats((4,), (4,), axis=0, start=None, end=None, step=-1), floats((2, 3), (5, 3), axis=0, start=-2, end=0, step=-2),
    floats((0,), (4,), axis=0, start=3, end=1, step=1), floats((4,), (4,), axis=0, start=-9, end=9, step=1),
    floats((0, 3), (0, 3), axis=0, start=0, end=2, step=1), floats((1, 3), (1, 3), axis=0, start=0, end=1, step=1),
    floats((4, 2), (4, 2), axis=0, start=9, end=None, step=-1), floats((2, 0), (2, 0), axis=0, start=None, end=None, step=1),
    sized=lambda size: floats((size, 3), (2 * size, 3), axis=0, start=None, end=None, step=2),
)  # fmt: skip


@kernel(
    shape=_shape, shape_only=("like",), reference=_reference, domain=(-4.0, 4.0), kinds="fib", scatters_slice=True,
    raises=False, examples=_examples,
)  # fmt: skip
def unslice(d, out, *, axis=0, start: int | None = 0, end: int | None = sys.maxsize, step=1):
    axis = axis % out.ndim
    whole, part, inner = out.shape[axis], d.shape[axis], 1
    for a in range(axis + 1, out.ndim):
        inner *= out.shape[a]
    first = 0 if step > 0 else whole - 1
    if start is not None:
        first = start + whole if start < 0 else start
        first = max(first, 0) if step > 0 else min(first, whole - 1)
    source, target = d.reshape(-1), out.reshape(-1)
    target[:] = 0
    if source.size > 0:
        for o in range(source.size // (part * inner)):
            for i in range(part):
                to, at = (o * whole + first + i * step) * inner, (o * part + i) * inner
                for j in range(inner):
                    target[to + j] = source[at + j]


@unslice.gradient
def _(d_out, *, axis, start, end, step):
    return ops.slice(d_out, starts=start, ends=end, axes=axis, steps=step)
