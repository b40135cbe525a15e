"""Cross-entropy of the softmax with classes, by default its mean over the rows.

    out = Σ (log Σ e^logits - logits[label]) / rows
    d_logits = d_out (softmax(logits) - one_hot(labels)) / rows

Shapes: logits (batch, classes) or (batch, ..., classes), labels (batch,) or (batch, ...); rows is the size of axis 0. Logits with
one axis are a single sample with a scalar label. reduction is "mean", "sum" or "none". Dtypes: logits floating; labels int32 or
int64, from 0 to classes - 1. Does not overflow. *Raises* KernelError when a label is out of range.
"""

from graphexec_ops._examples import calls, indexed
from graphexec_ops.loss._reduction import Reduction

from graphexec.plugin import ShapeError, composite, ops

_examples = calls(
    indexed((4, 3), (4,), 0, 3), indexed((3,), (), 0, 3), indexed((2, 3, 5), (2, 3), 0, 5, "int32"),
    indexed((4, 1), (4,), 0, 1), indexed((4, 3), (4,), 0, 3, reduction="sum"), indexed((4, 3), (4,), 0, 3, reduction="none"),
    indexed((0, 3), (0,), 0, 3, reduction="sum"), sized=lambda size: indexed((4, size), (4,), 0, size),
)  # fmt: skip


@composite(domain={"logits": (-4.0, 4.0), "labels": (0, 1)}, types={"labels": "int64"}, examples=_examples)
def softmax_cross_entropy(logits, labels, *, reduction: Reduction = "mean"):
    if labels.ndim != logits.ndim - 1:
        raise ShapeError("there must be one label for each row", todo="Give labels the shape of logits without the last axis.")
    losses, _ = ops.softmax_cross_entropy_rows(logits, labels)
    if reduction == "mean" and labels.ndim > 0:  # as reduce_loss, but the divisor precedes the losses: backward can fuse
        return ops.sum(losses) / ops.size(logits, axis=0)
    return ops.reduce_loss(losses, reduction=reduction)
