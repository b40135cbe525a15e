"""Reductions whose identity or combine function is wrong, in few elements or in many."""

import numpy as np

from graphexec.plugin import reduction


# fault: combining is not associative
@reduction(identity=0.0, reference=np.mean, domain=(-2.0, 2.0), differentiable=False, nonempty=True)
def mean_of_pairs(accumulated, x):
    """out = Σ x / n"""
    return (accumulated + x) / 2


# fault: the identity 0 is larger than negative elements
@reduction(identity=0.0, reference=np.max, domain=(-2.0, 2.0), differentiable=False, exact=True, nonempty=True)
def largest(accumulated, x):
    """out = max x"""
    return x if x > accumulated or x != x else accumulated


# fault: the identity of a product is not 0
@reduction(identity=0.0, reference=np.prod, domain=(0.5, 2.0), differentiable=False)
def product_of(accumulated, x):
    """out = Π x"""
    return accumulated * x


# fault: combining squares the partial sums as well
@reduction(identity=0.0, reference=lambda x, *, axis=None, keepdims=False: np.sum(x * x, axis=axis, keepdims=keepdims),
           domain=(-2.0, 2.0), differentiable=False)  # fmt: skip
def squares_of(accumulated, x):
    """out = Σ x²"""
    return accumulated + x * x


def _difference(x, *, axis=None, keepdims=False):
    axes = tuple(range(x.ndim)) if axis is None else axis
    first = x
    for a in [axes] if isinstance(axes, int) else axes:
        first = np.take(first, [0], a)
    out = 2 * first - np.sum(x, axis=axes, keepdims=True)
    return out if keepdims else np.squeeze(out, axes)


# fault: the first element is subtracted too, and blocks are subtracted from one another
@reduction(identity=0.0, reference=_difference, domain=(-2.0, 2.0), differentiable=False, nonempty=True)
def first_minus_rest(accumulated, x):
    """out = x[0] - x[1] - x[2] - ..."""
    return accumulated - x


# fault: no elements give the identity instead of an error, as the reference raises
@reduction(identity=float("inf"), reference=np.min, domain=(-2.0, 2.0), differentiable=False, exact=True)
def least_of(accumulated, x):
    """out = min x; there is none of no elements"""
    return x if x < accumulated or x != x else accumulated


# fault: a NaN that was accumulated is lost
@reduction(identity=float("-inf"), reference=lambda x, *, axis=None, keepdims=False: np.max(x, axis=axis, keepdims=keepdims,
           initial=-np.inf), domain=(-2.0, 2.0), differentiable=False, exact=True)  # fmt: skip
def top_of(accumulated, x):
    """out = max x; NaN if one is NaN; -inf for no elements"""
    return accumulated if accumulated > x else x


# fault: 1 counts each element, and so do partial counts
@reduction(
    identity=0.0, domain=(-2.0, 2.0), differentiable=False,
    reference=lambda x, *, axis=None, keepdims=False: np.sum((x > 0).astype(x.dtype), axis=axis, keepdims=keepdims),
)  # fmt: skip
def count_above(accumulated, x):
    """out = the number of elements above 0"""
    return accumulated + (1 if x > 0 else 0)


# fault: the product starts from -1
@reduction(identity=-1.0, reference=np.prod, domain=(-2.0, 2.0), differentiable=False)
def signed_product(accumulated, x):
    """out = Π x"""
    return accumulated * x
