"""Joins values along an axis.

    out = parts[0], parts[1], ... one after the other
    d_parts[i] = the part of d_out that came from parts[i]

Shapes: equal except along `axis`, where sizes add up; a named size keeps its name. Dtypes: any, all the same.
The deltas are views of d_out: each is the head of what remains after the parts before it.
"""

import numpy as np
from graphexec_ops._examples import calls, floats, integers

from graphexec.plugin import DtypeError, ShapeError, TensorSpec, kernel, normalize_axes, ops


def _shape(*parts, axis=0):
    first = parts[0]
    (a,) = normalize_axes(axis, first.ndim, "concat")
    total = first.shape[a]
    for k, part in enumerate(parts[1:], 1):
        if part.dtype != first.dtype:
            raise DtypeError(f"parts[0] is {first.dtype} and parts[{k}] is {part.dtype}", todo="Convert one with cast.")
        if part.ndim != first.ndim or (*part.shape[:a], *part.shape[a + 1 :]) != (*first.shape[:a], *first.shape[a + 1 :]):
            raise ShapeError(f"parts[{k}] does not fit parts[0]", todo=f"Parts must have equal sizes except along axis {a}.")
        total = total + part.shape[a]
    return TensorSpec((*first.shape[:a], total, *first.shape[a + 1 :]), first.dtype)


_examples = calls(
    floats((2, 3), (2, 2), axis=1), floats((2, 3), (1, 3), (4, 3)), floats((2, 3), (2, 1), axis=-1), floats((3,)),
    floats((0, 3), (2, 3)), floats((0, 3), (0, 2), axis=1), floats((2, 3, 4), (2, 1, 4), (2, 2, 4), axis=-2), floats((1,), (1,)),
    integers((2, 2), (1, 2), low=0, high=9), sized=lambda size: floats((size, 3), (1, 3), (size, 3)),
)  # fmt: skip


@kernel(
    shape=_shape, reference=lambda *parts, axis=0: np.concatenate(parts, axis), domain=(-4.0, 4.0), kinds="fib", onnx="Concat",
    concat=True, rows=("parts",), raises=False, examples=_examples,
)  # fmt: skip
def concat(*parts, axis=0):
    out = parts[-1]
    axis = axis % out.ndim
    outer = 1
    for a in range(axis):
        outer *= out.shape[a]
    if out.size > 0:
        target, row, at = out.reshape(-1), out.size // outer, 0
        for k in range(len(parts) - 1):
            source = parts[k].reshape(-1)
            width = source.size // outer
            for o in range(outer):
                for i in range(width):
                    target[o * row + at + i] = source[o * width + i]
            at += width


@concat.gradient
def _(d_out, *parts, axis):
    deltas = []
    for part in parts:
        deltas.append(ops.head_like(d_out, part, axis=axis))
        d_out = ops.tail_like(d_out, part, axis=axis)
    return deltas
