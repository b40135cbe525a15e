"""Least upper bound along axes: the largest element, or the lowest value of the type where there are no elements.

    out = sup x

Shapes: as sum. Dtypes: floating and integer. NaN anywhere gives NaN. It is what softmax and its relatives subtract, which have
results of no elements too. No derivative.
"""

import numpy as np
from graphexec_ops._examples import integers, spread
from graphexec_ops.reduce._examples import reductions

from graphexec.plugin import reduction


def _reference(x, *, axis=None, keepdims=False):
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    return np.max(x, axis=axis, keepdims=keepdims, initial=lowest)


@reduction(
    identity=float("-inf"), exact=True, reference=_reference, domain=(-4.0, 4.0), kinds="fi", differentiable=False,
    examples=reductions(spread, integers((3, 4), axis=0), integers((2, 0), axis=1)),
)  # fmt: skip
def supremum(accumulated, x):
    larger = x if x > accumulated else accumulated  # keeps a NaN in accumulated
    return larger if x == x else x
