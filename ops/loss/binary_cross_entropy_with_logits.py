"""Binary cross-entropy of the sigmoid with targets, by default its mean over the rows.

    out = Σ (max(z, 0) - z y + log(1 + e^-|z|)) / rows
    d_z = d_out (σ(z) - y) / rows

Shapes: z and y broadcast; rows is the size of axis 0; the terms of one row are summed. reduction is "mean", "sum" or "none".
Dtypes: float32, float64; targets are from 0 to 1, soft ones included, and have z's kind. Does not overflow. *Raises* KernelError
when a target is below 0, above 1, or NaN.
"""

from graphexec_ops._examples import calls
from graphexec_ops.loss._examples import targets
from graphexec_ops.loss._reduction import Reduction

from graphexec.plugin import composite, ops

_examples = calls(
    targets((4, 1), (4, 1)), targets((4, 3), (4, 3), reduction="sum"), targets((4, 3), (4, 3), reduction="none"),
    targets((4,), (4,)), targets((0, 3), (0, 3), reduction="sum"), sized=lambda size: targets((size, 3), (size, 3)),
)  # fmt: skip


@composite(domain={"z": (-4.0, 4.0), "y": (0.0, 1.0)}, examples=_examples)
def binary_cross_entropy_with_logits(z, y, *, reduction: Reduction = "mean"):
    return ops.reduce_loss(ops.logistic_loss(z, y), reduction=reduction)
