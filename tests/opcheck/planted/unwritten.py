"""Kernels that leave an element of an output or of a delta unwritten."""

import numpy as np

from graphexec.plugin import kernel


def _shifted(x):
    return np.concatenate([np.zeros_like(x[..., :1]), x[..., :-1]], axis=-1)


# fault: the first element is not written
@kernel("(n)->(n)", reference=_shifted, domain=(-2.0, 2.0), differentiable=False)
def shifted_right(x, out):
    """out[0] = 0,  out[i] = x[i - 1]"""
    for i in range(1, x.size):
        out[i] = x[i - 1]


# fault: elements below 0 are not written
@kernel("(n)->(n)", reference=lambda x: np.maximum(x, 0), domain=(-2.0, 2.0), differentiable=False)
def positive_part(x, out):
    """out = max(x, 0)"""
    for i in range(x.size):
        if not x[i] <= 0:
            out[i] = x[i]


# fault: a row of one element is not written
@kernel("(n)->(n)", reference=lambda x: x - x[..., ::-1], domain=(-2.0, 2.0), differentiable=False)
def minus_mirrored(x, out):
    """out[i] = x[i] - x[n - 1 - i]"""
    n = x.size
    if n < 2:
        return
    for i in range(n):
        out[i] = x[i] - x[n - 1 - i]


# fault: the last delta is not written
@kernel("(n)->(n)", reference=lambda x: np.diff(x, axis=-1, prepend=0), domain=(-2.0, 2.0))
def differences(x, out):
    """out[0] = x[0],  out[i] = x[i] - x[i - 1];  d_x[i] = d_out[i] - d_out[i + 1]"""
    for i in range(x.size):
        out[i] = x[i] - (x[i - 1] if i > 0 else 0.0)


@differences.backward
def _(d_out, d_x):
    for i in range(d_x.size - 1):
        d_x[i] = d_out[i] - d_out[i + 1]


# fault: the delta of w is not written
@kernel("(n),(n)->()", reference=lambda x, w: np.sum(x * w, axis=-1), domain=(-2.0, 2.0))
def weighted_total(x, w, out):
    """out = Σ x w,  d_x = w d_out,  d_w = x d_out"""
    total = 0.0
    for i in range(x.size):
        total += x[i] * w[i]
    out[()] = total


@weighted_total.backward
def _(d_out, x, w, d_x, d_w):
    for i in range(x.size):
        d_x[i] = w[i] * d_out[()]


# fault: the second output is written only if the row has an element above 0
@kernel(
    "(n)->(),()", reference=lambda x: (np.sum(x, axis=-1), np.sum(np.maximum(x, 0), axis=-1)), domain=(-2.0, 2.0),
    differentiable=False,
)  # fmt: skip
def total_and_positive(x, total, positive):
    """total = Σ x,  positive = Σ max(x, 0)"""
    whole, above = 0.0, 0.0
    for i in range(x.size):
        whole += x[i]
        above += 0.0 if x[i] <= 0 else x[i]
    total[()] = whole
    if above != 0:
        positive[()] = above


# fault: the triangle below the diagonal is not written
@kernel("(n,n)->(n,n)", reference=np.triu, domain=(-2.0, 2.0), differentiable=False)
def upper_triangle(a, out):
    """out[i, j] = a[i, j] for j ≥ i, else 0"""
    for i in range(a.shape[0]):
        for j in range(i, a.shape[1]):
            out[i, j] = a[i, j]
