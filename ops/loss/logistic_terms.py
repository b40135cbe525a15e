"""The formula of binary cross-entropy of the sigmoid, for each element; `logistic_loss` also checks the targets.

    out = -y log σ(z) - (1 - y) log(1 - σ(z)) = max(z, 0) - z y + log(1 + e^-|z|)
    d_z = d_out (σ(z) - y),  d_y = -d_out z

Shapes: broadcast. Dtypes: float32, float64. Does not overflow, and keeps its precision near 0.
"""

import numpy as np
from graphexec_ops._examples import calls
from graphexec_ops.loss._examples import targets

from graphexec.math import exp, log1p, sigmoid
from graphexec.plugin import elementwise


def _reference(z, y):
    return np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))


@elementwise(
    reference=_reference, domain={"z": (-4.0, 4.0), "y": (0.0, 1.0)},
    examples=calls(targets((4, 3), (4, 3)), targets((4, 3), (3,))),
)  # fmt: skip
def logistic_terms(z, y):
    return (0.0 if z < 0 else z) - z * y + log1p(exp(-abs(z)))


@logistic_terms.backward
def _(d_out, z, y):  # where σ(z) is near 1, the difference from 1 keeps the digits that σ(z) - y would lose
    slope = (1 - y) - sigmoid(-z) if z > 0 else sigmoid(z) - y
    return d_out * slope, -(d_out * z)
