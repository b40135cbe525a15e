"""Right elementwise ops whose loop does not vectorize; the checker warns."""

import math as libm

import numpy as np
from numba import njit

from graphexec.plugin import elementwise


@njit(inline="never")
def _slow_log(x):
    return libm.log(x) if x > 0 else -np.inf if x == 0 else np.nan


# fault: math.exp is a call of the C library
@elementwise(reference=np.exp, domain=(-2.0, 2.0), differentiable=False)
def library_exp(x):
    """out = eˣ"""
    return libm.exp(x)


# fault: np.tanh is a call of the C library
@elementwise(reference=np.tanh, domain=(-2.0, 2.0), differentiable=False)
def library_tanh(x):
    """out = tanh x"""
    return np.tanh(x)


# fault: it calls a compiled function, and that the C library
@elementwise(reference=np.log, domain=(0.5, 2.0), differentiable=False)
def called_log(x):
    """out = log x"""
    return _slow_log(x)


# fault: it raises for a number that it does not expect
@elementwise(reference=lambda x: np.sqrt(x), domain=(0.5, 2.0), differentiable=False)
def guarded_root(x):
    """out = √x; x ≥ 0"""
    if x < 0:
        raise ValueError("a negative number has no root")
    return np.sqrt(x)


# fault: the number of steps of the loop depends on the element
@elementwise(reference=lambda x: np.floor(np.clip(x, 0, 50)), domain=(0.0, 9.0), differentiable=False)
def counted_up(x):
    """out = ⌊x⌋ from 0 to 50, NaN for NaN"""
    if x != x:
        return x
    steps = 0.0
    while steps < 50 and steps + 1 <= x:
        steps += 1
    return steps
