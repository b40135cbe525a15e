"""Reduces the terms of a loss to their sum or their mean over the rows.

    out = Σ x            reduction="sum"
    out = Σ x / rows     reduction="mean"; rows is the size of axis 0, 1 for a scalar
    out = x              reduction="none"

Shapes: any; out is a scalar, or has the shape of x. Dtypes: float32, float64. Also meant for your own losses.
"""

from graphexec_ops._examples import calls, floats
from graphexec_ops.loss._reduction import Reduction

from graphexec.plugin import composite, ops

_examples = calls(
    floats((4, 3)), floats((4, 3), reduction="sum"), floats((4, 3), reduction="none"), floats((4,)), floats(()), floats((1, 3)),
    floats((0, 3), reduction="sum"), sized=lambda size: floats((size, 3)),
)  # fmt: skip


@composite(domain=(-4.0, 4.0), examples=_examples)
def reduce_loss(x, *, reduction: Reduction = "mean"):
    if reduction == "none":
        return x
    total = ops.sum(x)
    return total / ops.size(x, axis=0) if reduction == "mean" and x.ndim > 0 else total
