"""Checks that targets are probabilities.

    out = y
    d_y = d_out

Shapes: any; out has the shape of y. Dtypes: float32, float64. *Raises* KernelError when a target is below 0, above 1, or NaN.
"""

import numpy as np

from graphexec.plugin import kernel


def _examples(rng, size):
    yield (rng.uniform(0, 1, (4, 3)),)
    yield (float(rng.integers(0, 2)),)
    yield (np.zeros((0, 3)),)


@kernel(
    shape=lambda y: y.shape, reference=np.asarray, domain=(0.0, 1.0), rows=("y",),
    errors={1: "a target is not a probability: it is below 0, above 1, or NaN"}, examples=_examples,
)  # fmt: skip
def target_probabilities(y, out):
    for i in range(y.size):
        target = y.flat[i]
        if not (target >= 0 and target <= 1):  # also true of NaN
            return 1
        out.flat[i] = target
    return 0


@target_probabilities.gradient
def _(d_out):
    return d_out
