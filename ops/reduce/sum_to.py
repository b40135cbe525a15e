"""Sum to the shape of another value, which undoes broadcasting.

    out = Σ x over the axes along which like broadcasts
    d_x = d_out, repeated along them

Shapes: like broadcasts to x; out has the shape of like. Dtypes: floating and integer.
Error bound: as sum.
"""

from graphexec_ops.reduce._sums import accurate_sum

from graphexec.plugin import ops, reduction


@reduction(identity=0.0, additive=True, reference=accurate_sum, domain=(-4.0, 4.0), kinds="fi", shape_only=True)
def sum_to(accumulated, x):
    return accumulated + x


@sum_to.gradient
def _(d_out, x):
    return ops.broadcast_like(d_out, x)
