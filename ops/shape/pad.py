"""Pads a value with a constant.

    out = x, surrounded by value
    d_x = d_out without the padding

Shapes: `padding` has the amount before each axis, then the amount after each, as in ONNX; a named axis keeps a name. Dtypes: any.
"""

from typing import Annotated

import numpy as np
from graphexec_ops._examples import calls, floats, integers

from graphexec.plugin import Range, ShapeError, TensorSpec, kernel, ops


def _shape(x, *, padding, value):
    if x.ndim == 0 or len(padding) != 2 * x.ndim:
        raise ShapeError(
            f"padding is {padding!r} for {x.ndim} axes",
            todo=f"Give {2 * x.ndim} integers from 0: before each axis, then after each.",
        )  # fmt: skip
    return TensorSpec(tuple(n + (a + b) for n, a, b in zip(x.shape, padding, padding[x.ndim :], strict=False)), x.dtype)


def _reference(x, *, padding, value=0.0):
    return np.pad(x, list(zip(padding[: x.ndim], padding[x.ndim :], strict=True)), constant_values=value)


_examples = calls(
    floats((2, 3), padding=(1, 0, 2, 1), value=1.5), floats((0, 3), padding=(1, 0, 0, 2)), floats((3, 1), padding=(1, 0, 2, 0)),
    floats((2, 3, 1, 2), padding=(0, 1, 2, 0, 1, 0, 0, 3)), integers((2, 3), padding=(1, 1, 1, 1), value=2.0),
    sized=lambda size: floats((2, size), padding=(0, 1, 0, 2)),
)  # fmt: skip


@kernel(
    shape=_shape, reference=_reference, domain=(-4.0, 4.0), kinds="fib", rows=("x",), onnx="Pad", raises=False, examples=_examples,
)  # fmt: skip
def pad(x, out, *, padding: Annotated[tuple[int, ...], Range(0)], value: Annotated[float, Range(nan=True)] = 0.0):
    source, target, width = x.reshape(-1), out.reshape(-1), x.shape[x.ndim - 1]
    target[:] = value
    for row in range(source.size // max(width, 1)):
        rest, stride, to = row, out.shape[x.ndim - 1], padding[x.ndim - 1]
        for back in range(2, x.ndim + 1):
            axis = x.ndim - back
            to += (rest % x.shape[axis] + padding[axis]) * stride
            rest, stride = rest // x.shape[axis], stride * out.shape[axis]
        for i in range(width):
            target[to + i] = source[row * width + i]


@pad.gradient
def _(d_out, *, padding, value):
    n = len(padding) // 2
    return ops.slice(d_out, starts=padding[:n], ends=tuple(-p if p else None for p in padding[n:]), axes=tuple(range(n)))
