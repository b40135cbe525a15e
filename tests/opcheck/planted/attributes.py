"""Ops that are right with the default attributes and wrong with others."""

from typing import Annotated, Literal

import numpy as np

from graphexec import math
from graphexec.plugin import Range, composite, elementwise, kernel, normalize_axes, ops


# fault: the attribute is not used
@elementwise(reference=lambda x, *, offset=1.0: x + offset, domain=(-2.0, 2.0))
def shifted_by(x, *, offset=1.0):
    """out = x + offset"""
    return x + 1.0


@shifted_by.backward
def _(d_out):
    return d_out


# fault: "up" adds 1 to the integer part, also where x is an integer
@elementwise(
    reference=lambda x, *, mode="down": np.floor(x) if mode == "down" else np.ceil(x), domain=(-4.0, 4.0), differentiable=False
)
def rounded_off(x, *, mode: Literal["down", "up"] = "down"):
    """out = ⌊x⌋ with "down", ⌈x⌉ with "up\""""
    return np.floor(x) if mode == "down" else np.floor(x) + 1


# fault: the text "half" is taken for "double"
@elementwise(
    reference=lambda x, *, by="same": x * {"same": 1.0, "half": 0.5, "double": 2.0}[by], domain=(-4.0, 4.0), differentiable=False
)
def rescaled(x, *, by: Literal["same", "half", "double"] = "same"):
    """out = x, x / 2 or 2 x"""
    return x if by == "same" else 2 * x


# fault: the flag has the opposite effect below 0
@elementwise(
    reference=lambda x, *, keep_sign=True: np.where(keep_sign, np.sign(x), 1) * x * x, domain=(0.1, 2.0), differentiable=False
)
def squared_signed(x, *, keep_sign=True):
    """out = x², with the sign of x if keep_sign"""
    return -x * x if x < 0 and not keep_sign else x * x


def _flip_shape(x, *, axis):
    normalize_axes(axis, x.ndim, "flipped_along")
    return x.shape


# fault: a negative axis is taken for axis 0
@kernel(
    shape=_flip_shape, reference=lambda x, *, axis=0: np.flip(x, axis), domain=(-2.0, 2.0), differentiable=False, kinds="fi",
)  # fmt: skip
def flipped_along(x, out, *, axis=0):
    """out[..., i, ...] = x[..., n - 1 - i, ...] along axis"""
    outer, inner = 1, 1
    for a in range(axis):
        outer *= x.shape[a]
    for a in range(max(axis, 0) + 1, x.ndim):
        inner *= x.shape[a]
    n = x.shape[max(axis, 0)]
    source, target = x.reshape(-1), out.reshape(-1)
    for o in range(outer):
        for i in range(n):
            for j in range(inner):
                target[(o * n + i) * inner + j] = source[(o * n + n - 1 - i) * inner + j]


def _window_sum(x, *, size=3):
    n = x.shape[-1]
    before = (size - 1) // 2
    padded = np.concatenate([np.zeros((*x.shape[:-1], before), x.dtype), x, np.zeros((*x.shape[:-1], size), x.dtype)], -1)
    return sum(padded[..., k : k + n] for k in range(size)).astype(x.dtype)


# fault: an even window is one element too wide
@kernel("(n)->(n)", reference=_window_sum, domain=(-2.0, 2.0), differentiable=False)
def window_sum(x, out, *, size: Annotated[int, Range(1, 99)] = 3):
    """out[i] = Σ x[i - (size - 1) // 2 ... i + size // 2], zeros outside"""
    half = size // 2
    for i in range(x.size):
        total = 0.0
        for k in range(max(i - half, 0), min(i + half + 1, x.size)):
            total += x[k]
        out[i] = total


# fault: a negative exponent gives 1
@elementwise(reference=lambda x, *, k=2: x ** float(k), domain=(0.5, 2.0), differentiable=False)
def raised_to(x, *, k: int = 2):
    """out = x^k"""
    out = 1.0
    for _ in range(k):
        out = out * x
    return out


def _lagged(x, *, lag=1):
    n = x.shape[-1]
    at = np.arange(n) - lag
    return np.where((at >= 0) & (at < n), x[..., np.clip(at, 0, max(n - 1, 0))], 0).astype(x.dtype)


# fault: a negative lag moves to the right as well
@kernel("(n)->(n)", reference=_lagged, domain=(-2.0, 2.0), differentiable=False, kinds="fi")
def lagged(x, out, *, lag=1):
    """out[i] = x[i - lag], 0 outside"""
    step = abs(lag)
    for i in range(x.size):
        out[i] = x[i - step] if i >= step else 0


# fault: the gain multiplies the argument instead of the result
@elementwise(reference=lambda x, *, gain=1.0: gain * np.tanh(x), domain=(-2.0, 2.0))
def amplified(x, *, gain=1.0):
    """out = gain tanh x"""
    return math.tanh(gain * x)


def _norm(x, *, order=2):
    return np.sum(np.abs(x) ** order, axis=-1) ** (1 / order)


# fault: odd orders add x^order without its absolute value
@kernel("(n)->()", reference=_norm, domain=(-2.0, 2.0), differentiable=False)
def norm_of_order(x, out, *, order: Annotated[int, Range(1, 4)] = 2):
    """out = (Σ |x|^order)^(1 / order)"""
    total = 0.0
    for i in range(x.size):
        total += x[i] ** order
    out[()] = abs(total) ** (1 / order)


# fault: keepdims is ignored
@composite(reference=lambda x, *, keepdims=False: np.sum(x * x, axis=-1, keepdims=keepdims), domain=(-2.0, 2.0))
def energy(x, *, keepdims=False):
    """out = Σ x² along the last axis, which stays with size 1 if keepdims"""
    return ops.sum(ops.square(x), axis=-1)


# fault: the derivative of the large exponents has k where k - 1 belongs
@elementwise(reference=lambda x, *, k=2: x ** float(k), domain=(0.5, 2.0))
def monomial(x, *, k: Annotated[int, Range(1, 9)] = 2):
    """out = x^k,  d_x = k x^(k - 1) d_out"""
    return math.pow(x, 1.0 * k)


@monomial.backward
def _(d_out, x, *, k):
    return 2 * x * d_out if k == 2 else k * math.pow(x, 1.0 * k) * d_out
