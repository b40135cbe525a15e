"""Checks that rows of targets are probabilities of classes, such as one-hot rows.

    out = y

Shapes: y (..., classes); out has its shape. Dtypes: float32, float64. *Raises* KernelError when an element is below 0, above 1 or
NaN, or when a row's sum differs from 1 by more than 0.001. No derivative.
"""

import numpy as np
from graphexec_ops.loss._examples import one_hot_rows

from graphexec.plugin import kernel

TOLERANCE = 1e-3


def _examples(rng, size):
    yield (one_hot_rows(rng, 6, 3),)
    yield (np.full((2, 2, 4), 0.25),)
    yield (np.zeros((0, 3)),)


@kernel(
    "(c)->(c)", reference=np.asarray, domain=(0.9995, 1.0), differentiable=False,
    errors={1: "a row of targets is not one-hot, nor probabilities: it has an element below 0, above 1, or NaN",
            2: "a row of targets is not one-hot, nor probabilities: it does not sum to 1"}, examples=_examples,
)  # fmt: skip
def target_rows(y, out):
    total = 0.0
    for j in range(y.size):
        target = y[j]
        if not (target >= 0 and target <= 1):  # also true of NaN
            return 1
        out[j] = target
        total += target
    return 2 if y.size > 0 and abs(total - 1.0) > TOLERANCE else 0
