"""Ops whose values are right and whose first derivative is wrong somewhere."""

import numpy as np

from graphexec import math
from graphexec.plugin import elementwise, kernel, ops


# fault: the factor 3 has become 2
@elementwise(reference=lambda x: x**3, domain=(-2.0, 2.0))
def cubed_short(x):
    """out = x³,  d_x = 3 x² d_out"""
    return x * x * x


@cubed_short.backward
def _(d_out, x):
    return 2 * x * x * d_out


# fault: the sign of the derivative of the cosine is lost
@elementwise(reference=lambda x, *, w=2.0: np.cos(w * x), domain=(-3.0, 3.0))
def cosine_wave(x, *, w=2.0):
    """out = cos(w x),  d_x = -w sin(w x) d_out"""
    return math.cos(w * x)


@cosine_wave.backward
def _(d_out, x, *, w):
    return d_out * w * math.sin(w * x)


# fault: the inner derivative w is missing, which its default 1 hides
@elementwise(reference=lambda x, *, w=1.0: np.sin(w * x), domain=(-3.0, 3.0))
def scaled_sine(x, *, w=1.0):
    """out = sin(w x),  d_x = w cos(w x) d_out"""
    return math.sin(w * x)


@scaled_sine.backward
def _(d_out, x, *, w):
    return d_out * math.cos(w * x)


# fault: the derivative has s where s² belongs; equal at the default
@elementwise(reference=lambda x, *, s=1.0: np.exp(-x * x / (2 * s * s)), domain=(-3.0, 3.0))
def gaussian_bump(x, *, s=1.0):
    """out = exp(-x² / 2s²),  d_x = -x / s² out d_out"""
    return math.exp(-x * x / (2 * s * s))


@gaussian_bump.backward
def _(d_out, x, out, *, s):
    return -d_out * out * x / s


# fault: the branch below 0 passes the whole delta on
@elementwise(reference=lambda x, *, alpha=0.1: np.where(x > 0, x, alpha * x), domain=(-2.0, 2.0))
def leaky_branch(x, *, alpha=0.1):
    """out = x if x > 0 else alpha x,  d_x = d_out, or alpha d_out"""
    return x if x > 0 else alpha * x


@leaky_branch.backward
def _(d_out, x, *, alpha):
    if x > 0:
        return d_out
    return 1.0 * d_out


# fault: d_y is d_x
@elementwise(reference=lambda x, y: np.sqrt(x * x + y * y), domain=(0.5, 2.0))
def hypotenuse(x, y):
    """out = √(x² + y²),  d_x = x / out d_out,  d_y = y / out d_out"""
    return math.sqrt(x * x + y * y)


@hypotenuse.backward
def _(d_out, x, y, out):
    return d_out * x / out, d_out * x / out


# fault: the derivative of |x|^p is not negative below 0
@elementwise(reference=lambda x, *, p=3.0: np.abs(x) ** p, domain=(-2.0, 2.0))
def even_power(x, *, p=3.0):
    """out = |x|^p,  d_x = p |x|^(p - 1) sign(x) d_out"""
    return math.pow(abs(x), p)


@even_power.backward
def _(d_out, x, *, p):
    return d_out * p * math.pow(abs(x), p - 1)


# fault: the delta of a mean is not divided by the number of elements
@kernel("(n)->()", reference=lambda x: np.sum(x, axis=-1) / max(x.shape[-1], 1), domain=(-2.0, 2.0))
def row_average(x, out):
    """out = Σ x / n, and 0 for no elements;  d_x = d_out / n"""
    total = 0.0
    for i in range(x.size):
        total += x[i]
    out[()] = total / max(x.size, 1)


@row_average.backward
def _(d_out, d_x):
    for i in range(d_x.size):
        d_x[i] = d_out[()]


# fault: the delta of y is that of the last row instead of the sum over rows
@kernel("(m),(n)->(m,n)", reference=lambda x, y: x[..., :, None] + y[..., None, :], domain=(-2.0, 2.0))
def outer_sum(x, y, out):
    """out[i, j] = x[i] + y[j],  d_x[i] = Σⱼ d_out[i, j],  d_y[j] = Σᵢ d_out[i, j]"""
    for i in range(x.size):
        for j in range(y.size):
            out[i, j] = x[i] + y[j]


@outer_sum.backward
def _(d_out, d_x, d_y):
    d_y[:] = 0
    for i in range(d_x.size):
        total = 0.0
        for j in range(d_y.size):
            total += d_out[i, j]
            d_y[j] = d_out[i, j]
        d_x[i] = total


# fault: a row of one element gets no delta
@kernel("(n)->(n)", reference=lambda x: np.cumsum(x, axis=-1) / np.arange(1, x.shape[-1] + 1), domain=(-2.0, 2.0))
def prefix_mean(x, out):
    """out[i] = mean of x[0 ... i],  d_x[j] = Σ d_out[i] / (i + 1) over i ≥ j"""
    total = 0.0
    for i in range(x.size):
        total += x[i]
        out[i] = total / (i + 1)


@prefix_mean.backward
def _(d_out, d_x):
    if d_x.size < 2:
        d_x[:] = 0
        return
    total = 0.0
    for i in range(d_x.size - 1, -1, -1):
        total += d_out[i] / (i + 1)
        d_x[i] = total


def _bias_shape(x, b):
    return x.shape


# fault: of several leading axes, only the last one is summed for the bias
@kernel(
    shape=_bias_shape, reference=lambda x, b: x + b, domain=(-2.0, 2.0),
    examples=lambda rng, size: [(rng.normal(size=(*lead, size)), rng.normal(size=size)) for lead in ((), (3,), (1,), (2, 3))],
)  # fmt: skip
def last_axis_bias(x, b, out):
    """out = x + b along the last axis;  d_x = d_out,  d_b = Σ d_out over all other axes"""
    n = max(b.size, 1)
    source, target = x.reshape(-1), out.reshape(-1)
    for i in range(x.size):
        target[i] = source[i] + b[i % n]


@last_axis_bias.backward
def _(d_out, x, b, d_x, d_b):
    n = b.size
    rows = 1 if x.ndim < 2 else x.shape[x.ndim - 2]
    source, target = d_out.reshape(-1), d_x.reshape(-1)
    d_b[:] = 0
    for i in range(source.size):
        target[i] = source[i]
    for i in range(min(rows * n, source.size)):
        d_b[i % n] += source[i]


# fault: each factor's delta has the factor itself instead of the other one
@kernel("(n),(n)->()", reference=lambda x, y: np.sum(x * y, axis=-1), domain=(-2.0, 2.0))
def dot_rows(x, y, out):
    """out = Σ x y,  d_x = d_out y,  d_y = d_out x"""
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    out[()] = total


@dot_rows.backward
def _(d_out, x, y, d_x, d_y):
    for i in range(x.size):
        d_x[i] = d_out[()] * x[i]
        d_y[i] = d_out[()] * y[i]


# fault: the derivative by x takes the matrix for symmetric
@kernel("(n),(n,n)->()", reference=lambda x, a: np.einsum("...i,...ij,...j->...", x, a, x), domain=(-2.0, 2.0))
def quadratic_form(x, a, out):
    """out = xᵀ a x,  d_x = (a + aᵀ) x d_out,  d_a = x xᵀ d_out"""
    total = 0.0
    for i in range(x.size):
        for j in range(x.size):
            total += x[i] * a[i, j] * x[j]
    out[()] = total


@quadratic_form.backward
def _(d_out, x, a, d_x, d_a):
    for i in range(x.size):
        total = 0.0
        for j in range(x.size):
            total += 2 * a[i, j] * x[j]
            d_a[i, j] = d_out[()] * x[i] * x[j]
        d_x[i] = total * d_out[()]


# fault: the delta of the weights lacks the term of the normalization
@kernel(
    "(n),(n)->()", reference=lambda x, w: np.sum(x * w, axis=-1) / np.sum(w, axis=-1), domain={"x": (-2.0, 2.0), "w": (0.5, 2.0)},
    examples=lambda rng, size: [(rng.normal(size=(2, size + 1)), rng.uniform(0.5, 2, (2, size + 1)))],
)  # fmt: skip
def weighted_average(x, w, out):
    """out = Σ x w / Σ w,  d_x = w / Σ w d_out,  d_w = (x - out) / Σ w d_out;  n ≥ 1"""
    total, weight = 0.0, 0.0
    for i in range(x.size):
        total += x[i] * w[i]
        weight += w[i]
    out[()] = total / weight


@weighted_average.backward
def _(d_out, x, w, out, d_x, d_w):
    weight = 0.0
    for i in range(x.size):
        weight += w[i]
    for i in range(x.size):
        d_x[i] = d_out[()] * w[i] / weight
        d_w[i] = d_out[()] * x[i] / weight


# fault: the rule forgets the second factor of the product rule
@elementwise(reference=lambda x: x / (1 + np.exp(-x)), domain=(-4.0, 4.0))
def gated(x):
    """out = x σ(x),  d_x = (σ(x) + x σ(x) (1 - σ(x))) d_out"""
    return x * math.sigmoid(x)


@gated.gradient
def _(d_out, x):
    s = ops.sigmoid(x)
    return d_out * (s + s * (1 - s))


# fault: the smoothing width is taken for 1 in the middle piece
@elementwise(
    reference=lambda x, *, width=1.0: np.where(np.abs(x) < width, x * x / (2 * width), np.abs(x) - width / 2), domain=(-3.0, 3.0)
)
def huber_width(x, *, width=1.0):
    """out = x² / 2w within ±w, else |x| - w / 2;  d_x = x / w, or sign(x)"""
    return x * x / (2 * width) if abs(x) < width else abs(x) - width / 2


@huber_width.backward
def _(d_out, x, *, width):
    if abs(x) < width:
        return d_out * x
    return d_out if x > 0 else -d_out
