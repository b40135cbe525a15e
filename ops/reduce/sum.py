"""Sum along axes.

    out = Σ x
    d_x = d_out, repeated along the axes

Shapes: `axis` is one axis, a list of them, or None for all; they are removed, or kept with size 1 if keepdims. A scalar may be
reduced along axis 0 or -1, as in NumPy. Dtypes: any; out is of x's type if that is floating, else int64: integers add up exactly,
and bools are counted. No elements give 0. The shape alone determines the order of additions.

Error bound: (38 + log2 n) roundings of Σ|x|, because blocks are added pairwise; about 1e-7 Σ|x| for float32 in practice.
"""

from graphexec_ops._examples import floats, integers
from graphexec_ops.reduce._examples import reductions
from graphexec_ops.reduce._sums import accurate_sum

from graphexec.plugin import ops, reduction


@reduction(
    identity=0.0, additive=True, reference=accurate_sum, domain=(-4.0, 4.0), kinds="fib", widens=True, onnx="ReduceSum",
    examples=reductions(floats, integers((3, 4), axis=0), floats((1000,))),
)  # fmt: skip
def sum(accumulated, x):
    return accumulated + x


@sum.gradient
def _(d_out, x, *, axis, keepdims):
    return ops.expand_like(d_out, x, axis=axis, keepdims=keepdims)
