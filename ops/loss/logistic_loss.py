"""Binary cross-entropy of the sigmoid of each element with a target, not reduced.

    out = -y log σ(z) - (1 - y) log(1 - σ(z)) = max(z, 0) - z y + log(1 + e^-|z|)
    d_z = d_out (σ(z) - y),  d_y = -d_out z

Shapes: broadcast. Dtypes: float32, float64; targets are from 0 to 1. Does not overflow, and keeps its precision near 0. *Raises*
KernelError when a target is below 0, above 1, or NaN.
"""

from graphexec_ops._examples import calls
from graphexec_ops.loss._examples import targets

from graphexec.plugin import composite, ops

_examples = calls(
    targets((4, 3), (4, 3)), targets((4, 3), (3,)), targets((), ()), targets((0, 3), (0, 3)), targets((4, 1), (4, 1)),
    sized=lambda size: targets((size, 3), (size, 3)),
)  # fmt: skip


@composite(domain={"z": (-4.0, 4.0), "y": (0.0, 1.0)}, examples=_examples)
def logistic_loss(z, y):
    return ops.logistic_terms(z, ops.target_probabilities(y))
