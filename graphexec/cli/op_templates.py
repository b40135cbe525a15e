"""op_templates: the ops that `graphexec ops new` writes, one of each kind. ``{name}`` is the op's name, ``{use}`` what to try."""

ELEMENTWISE = '''"""{name}: x / (1 + beta |x|), element by element.

    out = x / (1 + beta |x|)
    d_x = d_out / (1 + beta |x|)**2

Shapes: any. Dtypes: float32, float64.
{use}"""

import numpy as np
from graphexec.plugin import elementwise


@elementwise(reference=lambda x, *, beta=1.0: x / (1 + beta * np.abs(x)), domain=(-4.0, 4.0))
def {name}(x, *, beta=1.0):  # scalars in, scalar out: the engine writes the loop
    return x / (1 + beta * abs(x))


@{name}.backward
def _(d_out, x, *, beta):  # its parameters name the values it needs: d_out, x, out
    scale = 1 + beta * abs(x)
    return d_out / (scale * scale)
'''

KERNEL = '''"""{name}: the product of a matrix and a vector, as an array kernel.

    out[i] = sum_j a[i, j] x[j]
    d_a[i, j] = d_out[i] x[j],  d_x[j] = sum_i a[i, j] d_out[i]

Shapes: (m, n) and (n,) give (m,); leading axes are batch axes. Dtypes: float32, float64.
{use}"""

import numpy as np
from graphexec.plugin import kernel


def _reference(a, x):
    return np.einsum("...mn,...n->...m", a, x)


@kernel("(m,n),(n)->(m)", reference=_reference, domain=(-2.0, 2.0))
def {name}(a, x, out):  # inputs, then outputs to write
    for i in range(a.shape[0]):
        total = 0.0
        for j in range(a.shape[1]):
            total += a[i, j] * x[j]
        out[i] = total


@{name}.backward
def _(d_out, a, x, d_a, d_x):  # the values it needs, by name, then one delta per input to write
    for j in range(a.shape[1]):
        d_x[j] = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            d_a[i, j] = d_out[i] * x[j]
            d_x[j] += a[i, j] * d_out[i]
'''

REDUCTION = '''"""{name}: the logarithm of the sum of exponentials along axes, without overflow.

    out = log(sum(exp(x)))
    d_x = d_out exp(x - out)

Shapes: any; the attributes axis and keepdims are those of NumPy's sum. Dtypes: float32, float64.
{use}"""

import numpy as np
from graphexec.math import exp, log, log1p
from graphexec.plugin import ops, reduction


def _reference(x, *, axis=None, keepdims=False):
    return np.logaddexp.reduce(x, axis=axis, keepdims=keepdims)


@reduction(identity=-np.inf, reference=_reference, domain=(-4.0, 4.0))
def {name}(accumulated, x):  # combines two numbers; the engine writes the loops, and adds axis and keepdims
    if accumulated == x:  # both may be the identity, which has no difference from itself
        return x + log(2.0)
    return max(accumulated, x) + log1p(exp(-abs(accumulated - x)))


@{name}.gradient
def _(d_out, x, out, *, axis, keepdims):  # a rule written in ops: it can be differentiated again
    out, d_out = (ops.expand_like(v, x, axis=axis, keepdims=keepdims) for v in (out, d_out))
    return d_out * ops.exp(x - out)
'''

VIEW = '''"""{name}: the last axis in reverse, without a copy.

    out[..., i] = x[..., n - 1 - i]
    d_x[..., i] = d_out[..., n - 1 - i]

Shapes: x and out alike, with at least one axis. Dtypes: all.
{use}"""

from graphexec.plugin import ShapeError, View, view


@view(reference=lambda x: x[..., ::-1], domain=(-2.0, 2.0))
def {name}(x):  # a View: shape, strides and offset of the operand's memory, in elements
    if not x.shape:
        raise ShapeError("there is no axis to reverse", todo="Give an operand with at least one axis.")
    last = max(x.shape[-1] - 1, 0) * x.strides[-1]
    return View(x.shape, (*x.strides[:-1], -x.strides[-1]), x.offset + last)


@{name}.gradient
def _(d_out):  # a rule written in ops: it can be differentiated again
    return {name}(d_out)
'''

COMPOSITE = '''"""{name}: a value divided by its root mean square along an axis.

    out = x / sqrt(mean(x**2) + epsilon)

Shapes: x and out alike, with at least one axis. Dtypes: float32, float64.
{use}"""

from typing import Annotated

import numpy as np
from graphexec.plugin import Range, ShapeError, composite, ops


def _reference(x, *, axis=-1, epsilon=1e-5):
    return x / np.sqrt(np.mean(x * x, axis=axis, keepdims=True) + epsilon)


@composite(reference=_reference, domain=(-2.0, 2.0))
def {name}(x, *, axis: int = -1, epsilon: Annotated[float, Range(above=0)] = 1e-5):  # graph values in, graph value out
    if not x.shape:
        raise ShapeError("there is no axis to normalize along", todo="Give an operand with at least one axis.")
    return x / ops.sqrt(ops.mean(ops.square(x), axis=axis, keepdims=True) + epsilon)  # the gradient follows from these ops
'''

KINDS = {
    "elementwise": ELEMENTWISE,
    "kernel": KERNEL,
    "reduction": REDUCTION,
    "view": VIEW,
    "composite": COMPOSITE,
}
"""The text of an op of each kind."""
