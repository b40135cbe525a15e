"""Right reductions, views, shape values and composites."""

import numpy as np

from graphexec.plugin import Axes, View, composite, ops, reduction, shape_value, view


@reduction(identity=0.0, reference=np.sum, domain=(-2.0, 2.0), additive=True)
def summed(accumulated, x):
    """out = Σ x,  d_x = d_out"""
    return accumulated + x


@summed.gradient
def _(d_out, x, *, axis, keepdims):
    return ops.expand_like(d_out, x, axis=axis, keepdims=keepdims)


def _lowest(x, *, axis=None, keepdims=False):
    return np.min(x, axis=axis, keepdims=keepdims)


@reduction(identity=float("inf"), reference=_lowest, domain=(-4, 4), kinds="fi", exact=True, nonempty=True, differentiable=False)
def lowest(accumulated, x):
    """out = min x; NaN if one is NaN; there is none of no elements"""
    smaller = x if x < accumulated else accumulated
    return smaller if x == x else x


@view(reference=lambda x: np.swapaxes(x, 0, -1), domain=(-2.0, 2.0),
      examples=lambda rng, size: [(rng.normal(size=s),) for s in ((size,), (size, 2), (2, 3, size), (1, 1))])  # fmt: skip
def ends_swapped(x):
    """out = x with its first and last axes exchanged,  d_x = ends_swapped(d_out)"""
    axes = list(range(x.ndim))
    axes[0], axes[-1] = axes[-1], axes[0]
    return x.permute(axes)


@ends_swapped.gradient
def _(d_out):
    return ops.ends_swapped(d_out)


@view(reference=lambda x: x[..., ::-1], domain=(-2.0, 2.0),
      examples=lambda rng, size: [(rng.normal(size=s),) for s in ((size,), (2, size))])  # fmt: skip
def reversed_last(x):
    """out[..., i] = x[..., n - 1 - i],  d_x = reversed_last(d_out)"""
    shift = max(x.shape[-1] - 1, 0) * x.strides[-1]
    return View(x.shape, (*x.strides[:-1], -x.strides[-1]), x.offset + shift)


@reversed_last.gradient
def _(d_out):
    return ops.reversed_last(d_out)


@shape_value(domain=(-1.0, 1.0), reference=lambda x: np.int64(np.ndim(x)))
def axis_count(x):
    """out = the number of axes of x"""
    return np.int64(x.ndim)


@composite(reference=lambda x, *, axis=None: np.sum(x * x, axis=axis), domain=(-2.0, 2.0))
def power_sum(x, *, axis: Axes = None):
    """out = Σ x²"""
    return ops.sum(ops.square(x), axis=axis)


@composite(domain=(-2.0, 2.0))
def soft_step(x, *, steepness=1.0):
    """out = σ(steepness x)"""
    return ops.sigmoid(steepness * x)


def _affine(x, scale, shift=None):
    return x * scale if shift is None else x * scale + shift


@composite(
    reference=_affine, domain=(-2.0, 2.0),
    examples=lambda rng, size: [
        (rng.normal(size=(2, size)), rng.normal(size=size), shift) for shift in (rng.normal(size=size), None)
    ],
)  # fmt: skip
def affine(x, scale, shift=None):
    """out = x scale + shift, or x scale"""
    return x * scale if shift is None else x * scale + shift


@composite(reference=lambda x: (np.sum(x, axis=-1), np.sum(x * x, axis=-1)), outputs=("first", "second"), domain=(-2.0, 2.0))
def two_moments(x):
    """first = Σ x,  second = Σ x², along the last axis"""
    return ops.sum(x, axis=-1), ops.sum(x * x, axis=-1)
