"""Ops with a trait that is untrue, so that the optimizer rewrites them wrongly."""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise, reduction


# fault: it is not commutative
@elementwise(reference=lambda x, y: 2 * x + y, domain=(-2.0, 2.0), commutative=True)
def weighted_pair(x, y):
    """out = 2 x + y"""
    return 2 * x + y


# fault: 0 as an exponent gives 1
@elementwise(reference=lambda x, y: np.exp(y * np.log(x)), domain=(0.5, 2.0), neutral={1: 0.0})
def to_the_power(x, y):
    """out = x^y"""
    return math.exp(y * math.log(x))


# fault: 1 - (1 - x) rounds
@elementwise(reference=lambda x: 1 - x, domain=(-2.0, 2.0), involution=True)
def complement(x):
    """out = 1 - x"""
    return 1 - x


# fault: 1 / (1 / x) rounds
@elementwise(reference=lambda x: 1 / x, domain=(0.5, 2.0), involution=True)
def inverse_of(x):
    """out = 1 / x"""
    return 1 / x


# fault: NumPy's exponential has other bits
@elementwise(reference=np.exp, domain=(-2.0, 2.0), exact=True)
def exact_exp(x):
    """out = eˣ"""
    return math.exp(x)


# fault: it changes elements beyond the bounds
@elementwise(reference=lambda x: np.clip(x, -10, 10), domain=(-2.0, 2.0), identity_function=True)
def bounded_copy(x):
    """out = x, from -10 to 10"""
    return x if x != x else min(max(x, -10.0), 10.0)


# fault: 0 is no neutral element for negative numbers
@elementwise(reference=np.maximum, domain=(-2.0, 2.0), commutative=True, neutral={0: 0.0, 1: 0.0}, differentiable=False)
def upper_of(x, y):
    """out = max(x, y); NaN if one is NaN"""
    return x if x > y or x != x else y


# fault: 1 is neutral as an exponent, but not as a base
@elementwise(reference=lambda x, y: x * y * y, domain=(0.5, 2.0), neutral={0: 1.0, 1: 1.0})
def times_square(x, y):
    """out = x y²"""
    return x * y * y


# fault: a sum rounds
@reduction(identity=0.0, reference=np.sum, domain=(-2.0, 2.0), exact=True, differentiable=False)
def exact_total(accumulated, x):
    """out = Σ x"""
    return accumulated + x


# fault: it is symmetric within the domain only: y is clipped from below
@elementwise(reference=lambda x, y: x + np.maximum(y, -3), domain=(-2.0, 2.0), commutative=True, differentiable=False)
def clipped_sum(x, y):
    """out = x + max(y, -3)"""
    return x + (y if not y < -3 else -3.0)
