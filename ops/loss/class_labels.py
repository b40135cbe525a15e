"""Checks that labels are valid classes.

    out = labels

Shapes: labels any; classes has one axis, used only for its size; out has the shape of labels. Dtypes: labels int32 or int64; out
is int32. *Raises* KernelError when a label is not between 0 and the number of classes. No derivative.
"""

import numpy as np

from graphexec.plugin import kernel


def _examples(rng, size):
    classes = np.arange(4, dtype="int32")
    yield rng.integers(0, 4, (2, 3)), classes
    yield np.asarray(rng.integers(0, 4), "int32"), classes
    yield rng.integers(0, 4, 0), classes


@kernel(
    shape=lambda labels, classes: labels.shape, reference=lambda labels, classes: np.asarray(labels, "int32"),
    types={"labels": "int64", "classes": "int32", "out": "int32"}, domain={"labels": (0, 1), "classes": (0, 1)},
    errors={1: "a label is not between 0 and the number of classes"}, differentiable=False, rows=("labels",), examples=_examples,
)  # fmt: skip
def class_labels(labels, classes, out):
    for i in range(labels.size):
        label = labels.flat[i]
        if label < 0 or label >= classes.size:
            return 1
        out.flat[i] = label
    return 0
