"""Right elementwise ops: kinks, poles outside the domain, saturation, overflow, integers, bools, attributes, updates."""

from typing import Annotated, Literal

import numpy as np

from graphexec import math
from graphexec.plugin import Range, elementwise, ops


@elementwise(reference=lambda x: np.maximum(x, 0), domain=(-2.0, 2.0))
def rectified(x):
    """out = max(x, 0),  d_x = d_out where x > 0; NaN stays"""
    return 0.0 if x <= 0 else x


@rectified.backward
def _(d_out, x):
    return 0.0 if x <= 0 else d_out


@elementwise(reference=lambda x: 1 / (x * x), domain=(0.5, 3.0))
def inverse_square(x):
    """out = 1 / x², with a pole at 0;  d_x = -2 out / x d_out"""
    return 1 / (x * x)


@inverse_square.backward
def _(d_out, x, out):
    return -2 * d_out * out / x


@elementwise(reference=lambda x, *, steepness=1.0: np.tanh(steepness * x), domain=(-4.0, 4.0))
def saturating(x, *, steepness: Annotated[float, Range(0.1, 10)] = 1.0):
    """out = tanh(s x),  d_x = s (1 - out²) d_out"""
    return math.tanh(steepness * x)


@saturating.backward
def _(d_out, out, *, steepness):
    return d_out * steepness * (1 - out * out)


@elementwise(reference=np.sinh, domain=(-3.0, 3.0))
def growing(x):
    """out = sinh x, which exceeds float32 from x = 89.4 on,  d_x = cosh x d_out"""
    return math.sinh(x)


@growing.gradient
def _(d_out, x):
    up, down = ops.exp(0.5 * x), ops.exp(-0.5 * x)  # eˣ itself overflows before its half does
    return d_out * (0.5 * up * up + 0.5 * down * down)


@elementwise(reference=lambda x: x * 3 - 1, domain=(-9, 9), kinds="i")
def three_less_one(x):
    """out = 3 x - 1, for integers"""
    return x * 3 - 1


@elementwise(reference=lambda a, b: a & ~b, domain=(0, 1), kinds="b")
def but_not(a, b):
    """out = a and not b"""
    return a and not b


@elementwise(reference=lambda x: x, domain=(-4, 4), kinds="fib", identity_function=True, involution=True, exact=True)
def unchanged(x):
    """out = x, of any type,  d_x = d_out"""
    return x


@unchanged.backward
def _(d_out):
    return d_out


def _distance(x, y, *, kind="square"):
    gap = x - y
    return gap * gap if kind == "square" else np.logaddexp(gap, 0)


@elementwise(reference=_distance, domain=(-2.0, 2.0))
def apart(x, y, *, kind: Literal["square", "ahead"] = "square"):
    """out = (x - y)² or log(1 + eˣ⁻ʸ);  both deltas are derived"""
    gap = x - y
    return gap * gap if kind == "square" else math.softplus(gap)


@elementwise(
    reference=lambda r, t: (r * np.cosh(t), r * np.sinh(t)), outputs=("x", "y"), domain={"r": (0.5, 2.0), "t": (-3.0, 3.0)}
)
def from_hyperbolic(r, t):
    """x = r cosh t,  y = r sinh t;  d_r = d_x cosh t + d_y sinh t,  d_t = d_x y + d_y x"""
    return r * math.cosh(t), r * math.sinh(t)


@from_hyperbolic.backward
def _(d_x, d_y, x, y, t):
    return d_x * math.cosh(t) + d_y * math.sinh(t), d_x * y + d_y * x


def _sum(*terms):
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


@elementwise(reference=_sum, domain=(-2.0, 2.0))
def added_up(*terms):
    """out = Σ terms,  each delta is d_out"""
    total = terms[0]
    for k in range(1, len(terms)):
        total = total + terms[k]
    return total


@added_up.gradient
def _(d_out, *terms):
    return (d_out,) * len(terms)


def _averaged(p, d, a, *, lr=0.1, keep=0.9):
    p = p - lr * d
    return p, keep * a + (1 - keep) * p


@elementwise(reference=_averaged, outputs=("p", "a"), updates=("p", "a"), differentiable=False, domain=(-2.0, 2.0))
def averaged_descent(p, d, a, *, lr: Annotated[float, Range(0)] = 0.1, keep: Annotated[float, Range(0, 1)] = 0.9):
    """p = p - lr d,  a = keep a + (1 - keep) p, the running mean of the parameters"""
    moved = p - lr * d
    return moved, keep * a + (1 - keep) * moved
