"""Cross-entropy of the softmax of each row with a class, not reduced, and the softmax.

    p = softmax(logits)
    out = log Σ e^logits - logits[label]
    d_logits[j] = d_out (p[j] - (1 where j = label, else 0))

The softmax is kept for the backward rule, so that exponentials are taken once, over all rows at a time.

Shapes: logits (..., classes) and labels (...) give out (...) and p (..., classes). Dtypes: logits floating; labels int32 or int64,
from 0 to classes - 1. Does not overflow. *Raises* KernelError when a label is out of range.
Source: Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 6.2.2.3.
"""

import numpy as np

from graphexec.math import exp, log
from graphexec.plugin import ShapeError, kernel, shape_text

ERRORS = {1: "a label is not between 0 and the number of classes"}


@np.errstate(all="ignore")
def _reference(logits, labels):
    logits, labels = np.asarray(logits), np.asarray(labels)
    shifted = logits - np.max(logits, axis=-1, keepdims=True, initial=-np.inf)
    chosen = np.take_along_axis(shifted, labels[..., None], -1)[..., 0]
    e = np.exp(shifted)
    total = np.sum(e, axis=-1)
    return np.log(total) - chosen, e / total[..., None]


def _shapes(logits, labels):
    if labels.shape != logits.shape[:-1] or not logits.shape:
        raise ShapeError(
            "there must be one label for each row of logits",
            facts=[f"labels {shape_text(labels.shape)}, logits {shape_text(logits.shape)}"],
            todo="Give labels the shape of logits without the last axis.",
        )  # fmt: skip
    return labels.shape, logits.shape


@kernel(
    shape=_shapes, outputs=("out", "p"), reference=_reference, types={"labels": "int64"}, errors=ERRORS, shared=True,
    domain={"logits": (-4.0, 4.0), "labels": (0, 1)},
)  # fmt: skip
def softmax_cross_entropy_rows(logits, labels, out, p, piece, pieces):
    rows, classes = labels.size, logits.shape[-1]
    first, last = rows * piece // pieces, rows * (piece + 1) // pieces
    x, e = logits.reshape(rows, classes), p.reshape(rows, classes)
    flat, label, loss = p.reshape(p.size), labels.reshape(rows), out.reshape(rows)
    for i in range(first, last):
        if label[i] < 0 or label[i] >= classes:
            return 1
        top = x[i, 0]
        for j in range(1, classes):
            top = x[i, j] if x[i, j] > top else top
        for j in range(classes):
            e[i, j] = x[i, j] - top
        loss[i] = e[i, label[i]]
    for k in range(first * classes, last * classes):
        flat[k] = exp(flat[k])
    for i in range(first, last):
        total = 0.0
        for j in range(classes):
            total += e[i, j]
        loss[i] = log(total) - loss[i]
        scale = 1.0 / total
        for j in range(classes):
            e[i, j] *= scale
    return 0


@softmax_cross_entropy_rows.backward
def _(d_out, labels, p, d_logits, piece, pieces):
    rows, classes = labels.size, p.shape[-1]
    first, last = rows * piece // pieces, rows * (piece + 1) // pieces
    e, d_x = p.reshape(rows, classes), d_logits.reshape(rows, classes)
    d, label = d_out.reshape(rows), labels.reshape(rows)
    for i in range(first, last):
        for j in range(classes):
            d_x[i, j] = e[i, j] * d[i]
        d_x[i, label[i]] -= d[i]
