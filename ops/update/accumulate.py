"""Adds a weighted number to a running total, in place; training sums the losses and metrics of an epoch with it.

    total = total + weight * x

Shapes: equal. Dtypes: the total is float64, x any floating type.
"""

from graphexec.plugin import elementwise


@elementwise(
    reference=lambda total, x, *, weight=1.0: total + weight * x,
    outputs=("total",),
    updates=("total",),
    types={"total": "float64"},
    differentiable=False,
    internal=True,
)
def accumulate(total, x, *, weight=1.0):
    return total + weight * x
