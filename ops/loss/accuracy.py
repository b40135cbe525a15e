"""Fraction of correctly classified rows.

    out = mean(argmax(scores) = labels)          integer labels, one for each row
    out = mean(argmax(scores) = argmax(labels))  floating labels, one-hot, of the shape of scores
    out = mean((scores > ½) = (labels > ½))      two classes: the last axis of both has size 1

Shapes: scores (..., classes); out is a scalar. Dtypes: scores floating, labels floating or integer; out is float32. A metric: no
derivative. *Raises* KernelError when an integer label is not a class, when a row of labels is neither one-hot nor probabilities
that sum to 1, or when a label of two classes is not from 0 to 1.
"""

from graphexec_ops._examples import indexed
from graphexec_ops.loss._examples import one_hot_rows

from graphexec.plugin import ShapeError, composite, ops


def _examples(rng, size):
    for draw in (indexed((6, 3), (6,), 0, 3), indexed((2, 5, 3), (2, 5), 0, 3, "int32"), indexed((3,), (), 0, 3)):
        yield draw(rng)
    yield rng.uniform(0, 1, (6, 3)), one_hot_rows(rng, 6, 3)
    yield rng.uniform(0, 1, (1, 4)), one_hot_rows(rng, 1, 4)
    yield rng.uniform(0, 1, (6, 1)), rng.integers(0, 2, (6, 1)).astype(float)
    yield rng.uniform(0, 1, (6, 1)), rng.integers(0, 2, (6, 1))


@composite(domain=(-4.0, 4.0), differentiable=False, examples=_examples)
def accuracy(scores, labels):
    if labels.ndim == scores.ndim - 1 and labels.dtype.startswith("int"):
        hit = ops.equal(ops.argmax(scores), ops.class_labels(labels, ops.positions(scores)))
    elif labels.ndim != scores.ndim or scores.ndim == 0 or labels.shape[-1] != scores.shape[-1]:
        raise ShapeError(
            "labels fit scores neither as classes nor as one-hot rows",
            todo="Give integers of the shape of scores without the last axis, or floating rows of the shape of scores.",
        )
    elif scores.shape[-1] == 1:
        targets = ops.cast(labels, dtype=scores.dtype)
        hit = ops.equal(ops.greater(scores, 0.5), ops.greater(ops.target_probabilities(targets), 0.5))
    else:
        targets = ops.cast(labels, dtype=scores.dtype)
        hit = ops.equal(ops.argmax(scores), ops.argmax(ops.target_rows(targets)))
    return ops.mean(ops.cast(hit, dtype="float32"))
