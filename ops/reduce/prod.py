"""Product along axes.

    out = Π x
    d_x = d_out × the product of the other elements

Shapes and dtypes: as sum. No elements give 1. Factors are multiplied pairwise in blocks, in an order that the shape
alone determines. The delta is also correct at elements that
are 0; second derivatives there are not, because they treat "is 0" as constant.
"""

import numpy as np

from graphexec.plugin import ops, reduction


@reduction(identity=1.0, reference=np.prod, domain=(-4.0, 4.0), kinds="fib", widens=True, onnx="ReduceProd")
def prod(accumulated, x):
    return accumulated * x


@prod.gradient
def _(d_out, x, *, axis, keepdims):
    zero = ops.equal(x, 0.0)
    filled = ops.where(zero, 1.0, x)
    product = ops.prod(filled, axis=axis, keepdims=True)  # of the elements that are not 0
    zeros = ops.sum(ops.cast(zero, dtype=x.dtype), axis=axis, keepdims=True)
    alone = ops.logical_and(zero, ops.equal(zeros, 1.0))
    others = ops.where(ops.equal(zeros, 0.0), product / filled, ops.where(alone, product, 0.0))
    return ops.expand_like(d_out, x, axis=axis, keepdims=keepdims) * others
