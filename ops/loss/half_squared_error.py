"""Half the squared error, the loss of the derivation: L = ½ Σ c², c = z - y.

    out = ½ Σ (z - y)²
    d_z = d_out (z - y),  d_y = -d_z

Shapes: z and y broadcast; out is a scalar, or has their shape for reduction="none". "mean" divides the sum by the number of rows,
the size of axis 0, also if that is the only axis. Dtypes: float32, float64.
"""

from graphexec_ops._examples import calls, floats
from graphexec_ops.loss._reduction import Reduction

from graphexec.plugin import composite, ops

_examples = calls(
    floats((4, 3), (4, 3)), floats((4, 3), (4, 3), reduction="mean"), floats((4, 3), (4, 3), reduction="none"),
    floats((4, 3), (3,)), floats((3,), (3,)), floats((1, 1), (1, 1), reduction="mean"), floats((0, 3), (0, 3)), floats((), ()),
    sized=lambda size: floats((size, 3), (size, 3)),
)  # fmt: skip


@composite(domain=(-4.0, 4.0), examples=_examples)
def half_squared_error(z, y, *, reduction: Reduction = "sum"):
    return ops.reduce_loss(0.5 * ops.square(z - y), reduction=reduction)
