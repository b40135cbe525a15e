"""Adds one to a step counter, in place.

    step = step + 1

Shapes: any. Dtype: int64.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=lambda step: np.asarray(step + 1), outputs=("step",), updates=("step",), types={"step": "int64"},
    differentiable=False, internal=True,
)  # fmt: skip
def increment(step):
    return step + 1
