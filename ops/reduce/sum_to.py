"""Sum to the shape of another value, which undoes broadcasting.

    out = Σ x over the axes along which like broadcasts
    d_x = d_out, repeated along them

Shapes: like broadcasts to x; out has the shape of like. Dtypes: floating and integer.
Error bound: as sum.
"""

from graphexec_ops._examples import calls, floats
from graphexec_ops.reduce._sums import accurate_sum

from graphexec.plugin import ops, reduction

_examples = calls(
    floats((2, 3), (3,)), floats((2, 3), (2, 1)), floats((2, 3), ()), floats((2, 3), (2, 3)), floats((4, 3, 2, 5), (1, 2, 1)),
    floats((0, 3), (3,)), floats((0, 3), (1, 3)), floats((1, 4), (1, 1)), sized=lambda size: floats((size, 3), (3,)),
)  # fmt: skip


@reduction(
    identity=0.0, additive=True, reference=accurate_sum, domain=(-4.0, 4.0), kinds="fi", shape_only=True, examples=_examples,
)  # fmt: skip
def sum_to(accumulated, x):
    return accumulated + x


@sum_to.gradient
def _(d_out, x):
    return ops.broadcast_like(d_out, x)
