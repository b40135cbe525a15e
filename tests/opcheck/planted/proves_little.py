"""Ops for which an easy check passes, because their domain, their examples or their gradient leave nothing to compare."""

import numpy as np

from graphexec import math
from graphexec.plugin import composite, elementwise, kernel, ops


# fault: the gradient is stopped, and so is 0 everywhere
@composite(reference=lambda x: 2 * x, domain=(-2.0, 2.0))
def doubled_stopped(x):
    """out = 2 x,  d_x = 2 d_out"""
    return 2 * ops.stop_gradient(x)


# fault: the result does not depend on x
@elementwise(reference=lambda x: np.cos(0 * x), domain=(-2.0, 2.0))
def always_one(x):
    """out = cos x"""
    return math.cos(0 * x)


# fault: the domain hides the branch below 0, which gives x instead of 0.2 x
@elementwise(reference=lambda x: np.where(x > 0, x, 0.2 * x), domain=(0.0, 1.0))
def leaky_hidden(x):
    """out = x if x > 0 else 0.2 x, for all x"""
    return x if x > 0 else 1.0 * x


# fault: there is no reference, so there is nothing to compare the values with
@composite(domain=(-2.0, 2.0))
def unreferenced(x):
    """out = x³ + x"""
    return x * x * x + x


# fault: in the tiny domain, the sine cannot be told from its argument
@elementwise(reference=lambda x: x + 0 * x, domain=(-1e-5, 1e-5))
def near_identity(x):
    """out = x"""
    return math.sin(x)


# fault: the examples are zeros, for which any linear op is right
@kernel("(n)->(n)", reference=lambda x: 3 * x, examples=lambda rng, size: [(np.zeros(size),)])
def tripled_zeros(x, out):
    """out = 3 x,  d_x = 3 d_out"""
    for i in range(x.size):
        out[i] = 2 * x[i]


@tripled_zeros.backward
def _(d_out, d_x):
    for i in range(d_x.size):
        d_x[i] = 2 * d_out[i]


# fault: the only example has one element, and the kernel looks at no other
@kernel("(n)->()", reference=lambda x: np.sum(x, axis=-1), differentiable=False, examples=lambda rng, size: [(rng.normal(size=1),)])
def sum_of_one(x, out):
    """out = Σ x"""
    out[()] = x[0]
