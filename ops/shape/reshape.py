"""Reshapes a value to other sizes, in row-major order.

    out = x, read in order
    d_x = d_out, read in order

Shapes: any with as many elements; one size may be -1 (what remains), and a size may be the name of a dimension of x, such as
"batch". Dtypes: any. A view if strides allow it, else a copy.
"""

import math
from typing import Annotated

from graphexec_ops._examples import calls, floats, integers

from graphexec.plugin import Range, Shape, Size, ops, resolve_names, view


def _with_rest(old, new):
    """Resolves -1 if the other new sizes are among the old ones, so that the rest keeps its names."""
    rest = list(old)
    for n in new:
        at = next((k for k, m in enumerate(rest) if m == n and isinstance(m, Size) == isinstance(n, Size)), len(rest))
        rest[at : at + 1] = []
    kept = len(old) - len(rest) == len(new) - 1
    return tuple(math.prod(rest) if n == -1 and kept else n for n in new)


_examples = calls(
    floats((2, 6), shape=(3, 4)), floats((2, 6), shape=(-1,)), floats((2, 6), shape=(2, -1, 3)), floats((), shape=(1, 1)),
    floats((1, 1), shape=()), floats((0, 3), shape=(3, 0)), floats((4,), shape=4), integers((2, 6), shape=(4, -1)),
    sized=lambda size: floats((size, 3), shape=(3, -1)),
)  # fmt: skip


@view(domain=(-4.0, 4.0), onnx="Reshape", examples=_examples)
def reshape(x, *, shape: Annotated[Shape, Range(-1)]):
    return x.reshape(_with_rest(x.shape, resolve_names(shape, x.shape, "reshape")))


@reshape.gradient
def _(d_out, x):
    return ops.reshape_like(d_out, x)
