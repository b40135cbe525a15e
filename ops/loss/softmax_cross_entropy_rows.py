"""Cross-entropy of the softmax of each row with a class, not reduced.

    out = log Σ e^logits - logits[label]
    d_logits[j] = d_out (softmax(logits)[j] - (1 where j = label, else 0))

Shapes: logits (..., classes) and labels (...) give (...). Dtypes: logits floating; labels int32 or int64, from 0 to classes - 1.
Does not overflow. *Raises* KernelError when a label is out of range.
Source: Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 6.2.2.3.
"""

import numpy as np

from graphexec.math import exp, log
from graphexec.plugin import kernel


@np.errstate(all="ignore")
def _reference(logits, labels):
    shifted = logits - np.max(logits, axis=-1, keepdims=True, initial=-np.inf)
    labels = np.broadcast_to(labels, logits.shape[:-1])
    shifted = np.broadcast_to(shifted, (*labels.shape, shifted.shape[-1]))
    chosen = np.take_along_axis(shifted, labels[..., None], -1)[..., 0]
    return np.log(np.sum(np.exp(shifted), axis=-1)) - chosen


@kernel(
    "(n),()->()", reference=_reference, types={"labels": "int64"}, domain={"logits": (-4.0, 4.0), "labels": (0, 1)},
    errors={1: "a label is not between 0 and the number of classes"},
)  # fmt: skip
def softmax_cross_entropy_rows(logits, labels, out):
    label = labels[()]
    if label < 0 or label >= logits.size:
        return 1
    top, total = -np.inf, 0.0
    for i in range(logits.size):
        top = logits[i] if logits[i] > top else top
    for i in range(logits.size):
        total += exp(logits[i] - top)
    out[()] = log(total) - (logits[label] - top)
    return 0


@softmax_cross_entropy_rows.backward
def _(d_out, logits, labels, d_logits):
    label = labels[()]
    if label < 0 or label >= logits.size:
        return 1
    top, total = -np.inf, 0.0
    for i in range(logits.size):
        top = logits[i] if logits[i] > top else top
    for i in range(logits.size):
        d_logits[i] = exp(logits[i] - top)
    for i in range(logits.size):
        total += d_logits[i]
    scale = d_out[()] / total
    for i in range(logits.size):
        d_logits[i] *= scale
    d_logits[label] -= d_out[()]
    return 0
