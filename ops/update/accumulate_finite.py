"""Adds a weighted number to a running total, in place, unless the number is NaN or infinite; training adds up losses with it.

    total[0] + total[1] = total[0] + total[1] + weight * x

Shapes: total (2,), a sum and what rounding took from it (Neumaier); x any, of one element. Dtypes: total float64, x floating.
*Raises* KernelError when x is NaN or infinite; the total is then as before. No derivative.
Source: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", ZAMM 54, 1974.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import ShapeError, kernel, shape_text


def _reference(total, x, *, weight=1.0):
    total, term = np.asarray(total, np.float64), weight * float(np.asarray(x).item())
    both = total[0] + term
    lost = (total[0] - both) + term if abs(total[0]) >= abs(term) else (term - both) + total[0]
    return np.array([both, total[1] + lost])


def _shape(total, x, *, weight=1.0):
    if total.shape != (2,) or x.size != 1:
        raise ShapeError(f"total must have 2 elements and x one, not {shape_text(total.shape)} and {shape_text(x.shape)}")
    return total.shape


@kernel(
    shape=_shape, reference=_reference, updates=("total",),
    types={"total": "float64", "out": "float64"}, differentiable=False, internal=True, errors={1: "the loss is NaN or infinite"},
    examples=calls(floats((2,), ())),
)  # fmt: skip
def accumulate_finite(total, x, out, *, weight=1.0):
    term = weight * np.float64(x.flat[0])
    if not (term - term == 0.0):
        return 1
    before, lost = total[0], total[1]
    both = before + term
    out[0] = both
    out[1] = lost + ((before - both) + term if abs(before) >= abs(term) else (term - both) + before)
    return 0
