"""Cross-entropy of each row's softmax with a class, not reduced, and the softmax itself.

    p = softmax(logits)
    out = log Σ e^logits - logits[label]
    d_logits[j] = d_out (p[j] - (1 where j = label, else 0))

Shapes: logits (..., classes) and labels (...) give out (...) and p (..., classes). Dtypes: logits floating; labels int32 or int64,
from 0 to classes - 1. Does not overflow. *Raises* KernelError when a label is out of range.
Source: Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 6.2.2.3.
"""

import numpy as np
from graphexec_ops._examples import calls, indexed

from graphexec.plugin import ShapeError, composite, ops, shape_text


@np.errstate(all="ignore")
def _reference(logits, labels):
    logits, labels = np.asarray(logits), np.asarray(labels)
    shifted = logits - np.max(logits, axis=-1, keepdims=True, initial=-np.inf)
    chosen = np.take_along_axis(shifted, labels[..., None], -1)[..., 0]
    e = np.exp(shifted)
    total = np.sum(e, axis=-1)
    return np.log(total) - chosen, e / total[..., None]


_examples = calls(
    indexed((4, 3), (4,), 0, 3), indexed((3,), (), 0, 3), indexed((2, 3, 5), (2, 3), 0, 5, "int32"),
    indexed((4, 1), (4,), 0, 1), indexed((0, 3), (0,), 0, 3), indexed((4, 33), (4,), 0, 33),
    sized=lambda size: indexed((4, size), (4,), 0, size),
)  # fmt: skip


@composite(
    outputs=("out", "p"), reference=_reference, types={"labels": "int64"}, domain={"logits": (-4.0, 4.0), "labels": (0, 1)},
    examples=_examples,
)  # fmt: skip
def softmax_cross_entropy_rows(logits, labels):
    if not logits.shape or labels.shape != logits.shape[:-1]:
        raise ShapeError(
            "there must be one label for each row of logits",
            facts=[f"labels {shape_text(labels.shape)}, logits {shape_text(logits.shape)}"],
            todo="Give labels the shape of logits without the last axis.",
        )  # fmt: skip
    classes = ops.positions(logits)
    hit = ops.equal(ops.expand_dims(ops.class_labels(labels, classes), axis=-1), classes)
    top = ops.stop_gradient(ops.supremum(logits, axis=-1, keepdims=True))
    e = ops.exp(logits - top)
    total = ops.sum(e, axis=-1, keepdims=True)
    below = ops.sum(ops.where(hit, top - logits, 0.0), axis=-1)
    return ops.squeeze(ops.log(total), axis=-1) + below, e / total
