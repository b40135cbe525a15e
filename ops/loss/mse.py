"""Squared error, by default its mean over the rows.

    out = Σ (z - y)² / rows
    d_z = 2 d_out (z - y) / rows,  d_y = -d_z

Shapes: z and y broadcast; rows is the size of axis 0, as in every loss here: errors of one row are summed, whereas PyTorch's
mse_loss takes the mean over all elements (for that, write square(z - y).mean()). reduction is "mean", "sum" or "none". Dtypes:
float32, float64.
"""

from graphexec_ops._examples import calls, floats
from graphexec_ops.loss._reduction import Reduction

from graphexec.plugin import composite, ops

_examples = calls(
    floats((4, 3), (4, 3)), floats((4, 3), (4, 3), reduction="sum"), floats((4, 3), (4, 3), reduction="none"),
    floats((4, 1), (4, 3)), floats((3,), (3,)), floats((0, 3), (0, 3), reduction="sum"),
    sized=lambda size: floats((size, 3), (size, 3)),
)  # fmt: skip


@composite(domain=(-4.0, 4.0), examples=_examples)
def mse(z, y, *, reduction: Reduction = "mean"):
    return ops.reduce_loss(ops.square(z - y), reduction=reduction)
