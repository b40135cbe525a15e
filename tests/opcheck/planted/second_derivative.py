"""Ops whose first derivative is right and whose second one is wrong."""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise, kernel, ops


# fault: the rule stops the gradient through the slope
@elementwise(reference=np.sin, domain=(-3.0, 3.0))
def sine_once(x):
    """out = sin x,  d_x = cos x d_out"""
    return math.sin(x)


@sine_once.gradient
def _(d_out, x):
    return d_out * ops.stop_gradient(ops.cos(x))


# fault: the rule takes out for a constant
@elementwise(reference=np.exp, domain=(-2.0, 2.0))
def exponential_once(x):
    """out = eˣ,  d_x = out d_out"""
    return math.exp(x)


@exponential_once.gradient
def _(d_out, out):
    return ops.stop_gradient(out) * d_out


# fault: the weights of the softmax are constants in the rule
@kernel(
    "(n)->()", domain=(-3.0, 3.0), reference=lambda x: np.log(np.sum(np.exp(x - np.max(x, -1, keepdims=True)), -1)) + np.max(x, -1),
    examples=lambda rng, size: [(rng.normal(size=(2, size + 1)),), (rng.normal(size=size + 1),)],
)  # fmt: skip
def soft_maximum(x, out):
    """out = log Σ eˣ,  d_x = softmax(x) d_out;  n ≥ 1"""
    top, total = x[0], 0.0
    for i in range(x.size):
        top = x[i] if x[i] > top or x[i] != x[i] else top
    for i in range(x.size):
        total += math.exp(x[i] - top)
    out[()] = math.log(total) + top


@soft_maximum.gradient
def _(d_out, x):
    return ops.expand_dims(d_out, axis=-1) * ops.stop_gradient(ops.softmax(x))


# fault: the derivative of the derivative by the incoming delta is stopped
@elementwise(reference=lambda x: 1 / (1 + x * x), domain=(-3.0, 3.0))
def witch_curve(x):
    """out = 1 / (1 + x²),  d_x = -2 x out² d_out"""
    return 1 / (1 + x * x)


@witch_curve.gradient
def _(d_out, x, out):
    return -2 * x * out * out * ops.stop_gradient(d_out)


# fault: the backward rule of the slope has 3 where 6 belongs
@kernel("(n),(n)->(n)", reference=lambda d, x: 3 * x * x * d, domain=(-2.0, 2.0))
def row_cube_slope(d, x, out):
    """out = 3 x² d,  d_d = 3 x² d_out,  d_x = 6 x d d_out"""
    for i in range(x.size):
        out[i] = 3 * x[i] * x[i] * d[i]


@row_cube_slope.backward
def _(d_out, d, x, d_d, d_x):
    for i in range(x.size):
        d_d[i] = 3 * x[i] * x[i] * d_out[i]
        d_x[i] = 3 * x[i] * d[i] * d_out[i]


# fault: its gradient rule applies row_cube_slope, whose own derivative is wrong
@kernel("(n)->(n)", reference=lambda x: x**3, domain=(-2.0, 2.0))
def row_cube(x, out):
    """out = x³,  d_x = row_cube_slope(d_out, x)"""
    for i in range(x.size):
        out[i] = x[i] * x[i] * x[i]


@row_cube.gradient
def _(d_out, x):
    return ops.row_cube_slope(d_out, x)


# fault: one of two terms of the mixed derivative is stopped
@elementwise(reference=lambda x, y: x * x * y, domain=(-2.0, 2.0))
def square_times(x, y):
    """out = x² y,  d_x = 2 x y d_out,  d_y = x² d_out"""
    return x * x * y


@square_times.gradient
def _(d_out, x, y):
    return 2 * x * y * d_out, ops.stop_gradient(x * x) * d_out
