"""Update rules of an optimizer that do not update, or update twice, or from some step on."""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise, kernel


# fault: the parameter stays as it was
@elementwise(reference=lambda p, d, *, lr=0.1: p - lr * d, outputs=("p",), updates=("p",), differentiable=False, domain=(-2.0, 2.0))
def descent_idle(p, d, *, lr=0.1):
    """p = p - lr d"""
    moved = p - lr * d
    return p if moved == moved else moved


# fault: the step is taken twice
@kernel(
    "(n),(n)->(n)", reference=lambda p, d, *, lr=0.1: p - lr * d, updates=("p",), differentiable=False, domain=(-2.0, 2.0),
)  # fmt: skip
def descent_twice(p, d, out, *, lr=0.1):
    """p = p - lr d"""
    for i in range(p.size):
        out[i] = p[i] - lr * d[i]
    for i in range(p.size):
        out[i] = out[i] - lr * d[i]


def _corrected(p, d, m, step, *, lr=0.1):
    m = 0.9 * m + 0.1 * d
    return p - lr * m / (1 - 0.9 ** step.astype("float64")).astype(p.dtype), m


# fault: from the third step on, the bias is corrected as in the second
@elementwise(
    reference=_corrected, outputs=("p", "m"), updates=("p", "m"), types={"step": "int64"}, differentiable=False,
    domain={"p": (-2.0, 2.0), "d": (-2.0, 2.0), "m": (-1.0, 1.0), "step": (1, 9)}, shared_operand="step",
)  # fmt: skip
def corrected_momentum(p, d, m, step, *, lr=0.1):
    """m = 0.9 m + 0.1 d,  p = p - lr m / (1 - 0.9^step), for steps from 1"""
    mean = 0.9 * m + 0.1 * d
    count = step if step < 3 else 2
    return p - lr * mean / -math.expm1(math.like(count, p) * math.log(0.9)), mean


# fault: the learning rate is left out of the step
@elementwise(
    reference=lambda p, d, *, lr=1.0: p - lr * np.sign(d), outputs=("p",), updates=("p",), differentiable=False, domain=(-2.0, 2.0)
)
def sign_descent(p, d, *, lr=1.0):
    """p = p - lr sign d"""
    return p - (1.0 if d > 0 else -1.0 if d < 0 else 0.0 * d)


def _velocity(p, d, v, *, lr=0.1):
    v = 0.9 * v + d
    return p - lr * v, v


# fault: the velocity is returned as it was before the step
@elementwise(reference=_velocity, outputs=("p", "v"), updates=("p", "v"), differentiable=False, domain=(-2.0, 2.0))
def stale_velocity(p, d, v, *, lr=0.1):
    """v = 0.9 v + d,  p = p - lr v"""
    return p - lr * (0.9 * v + d), v


# fault: it writes the state before it reads it for the parameter, which is the same memory
@kernel(
    "(n),(n),(n)->(n),(n)", reference=lambda p, d, s: (p - d / np.sqrt(s + d * d + 1), s + d * d), updates=("p", "s"),
    differentiable=False, domain={"p": (-2.0, 2.0), "d": (-2.0, 2.0), "s": (0.1, 2.0)},
)  # fmt: skip
def adaptive_descent(p, d, s, new_p, new_s):
    """s' = s + d²,  p' = p - d / √(s' + 1), in place"""
    for i in range(p.size):
        new_s[i] = s[i] + d[i] * d[i]
    for i in range(p.size):
        new_p[i] = p[i] - d[i] / np.sqrt(s[i] + d[i] * d[i] + 1)
