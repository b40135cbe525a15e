"""Right kernels that allocate memory for each row; the checker warns."""

import numpy as np

from graphexec import math
from graphexec.plugin import kernel


# fault: memory is allocated in the loop
@kernel("(m,n)->(m)", reference=lambda a: np.sum(a * a, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def squares_by_row(a, out):
    """out[i] = Σⱼ a[i, j]²"""
    for i in range(a.shape[0]):
        squares = np.zeros(a.shape[1], a.dtype)
        for j in range(a.shape[1]):
            squares[j] = a[i, j] * a[i, j]
        total = 0.0
        for j in range(a.shape[1]):
            total += squares[j]
        out[i] = total


# fault: the row is joined with itself in new memory
@kernel("(n)->(n)", reference=lambda x: np.roll(x, -1, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def rolled_left(x, out):
    """out[i] = x[(i + 1) mod n]"""
    twice = np.concatenate((x, x))
    for i in range(x.size):
        out[i] = twice[i + 1]


# fault: sorting makes a copy
@kernel("(n)->(n)", reference=lambda x: np.sort(x, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def ascending(x, out):
    """out = x in ascending order, NaN last"""
    out[:] = np.sort(x)


# fault: the backward kernel allocates the exponentials
@kernel("(n)->(n)", reference=np.exp, domain=(-2.0, 2.0))
def exponentials(x, out):
    """out = eˣ,  d_x = eˣ d_out"""
    for i in range(x.size):
        out[i] = math.exp(x[i])


@exponentials.backward
def _(d_out, x, d_x):
    e = np.empty(x.size, x.dtype)
    for i in range(x.size):
        e[i] = math.exp(x[i])
    for i in range(x.size):
        d_x[i] = e[i] * d_out[i]


# fault: array arithmetic makes temporary arrays
@kernel("(n)->(n)", reference=lambda x: x * x + 2 * x, domain=(-2.0, 2.0), differentiable=False)
def parabola(x, out):
    """out = x² + 2 x"""
    out[:] = x * x + 2 * x
