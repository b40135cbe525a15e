"""Broadcasts a value: repeats it along new leading axes and along axes of size 1.

    out[..., i, ...] = x[..., 0 or i, ...]
    d_x = the sum of d_out over the repeated axes

Shapes: x's axes, counted from the last, equal those of `shape` or are 1; a size may be the name of a dimension of x. Dtypes: any.
A view: nothing is copied. To take the shape of another value, its named dimensions included, use broadcast_like.
"""

from typing import Annotated

from graphexec_ops._examples import calls, floats

from graphexec.plugin import Range, Shape, ops, resolve_names, view

_examples = calls(
    floats((3,), shape=(2, 3)), floats((2, 1), shape=(2, 3)), floats((), shape=(2, 2)), floats((2, 3), shape=(2, 3)),
    floats((1, 3), shape=(0, 3)), floats((1, 2, 1), shape=(4, 3, 2, 5)), sized=lambda size: floats((3, 1), shape=(3, size)),
)  # fmt: skip


@view(domain=(-4.0, 4.0), onnx="Expand", examples=_examples)
def broadcast_to(x, *, shape: Annotated[Shape, Range(0)]):
    return x.broadcast(resolve_names(shape, x.shape, "broadcast_to"))


@broadcast_to.gradient
def _(d_out, x):
    return ops.sum_to(d_out, x)
