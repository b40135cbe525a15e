"""Templates for `graphexec ops new`: working plugins to start from."""

ELEMENTWISE = '''"""{name}: x / (1 + beta |x|), element by element.

    out = x / (1 + beta |x|)
    d_x = d_out / (1 + beta |x|)**2

Shapes: any. Dtypes: float32, float64.
Try it: `graphexec ops check {name}.py`; use it: `graphexec train FILE --plugin {name}.py`.
"""

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
Try it: `graphexec ops check {name}.py`; use it: `graphexec train FILE --plugin {name}.py`.
"""

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
