"""Ops with a wrong shape, dtype or batch axis, in the op or in its reference."""

import numpy as np

from graphexec.plugin import TensorSpec, kernel


def _half(x):
    return (*x.shape[:-1], x.shape[-1] // 2)


# fault: the shape rule rounds down: an odd row loses its last element
@kernel(
    shape=_half, reference=lambda x: x[..., ::2], domain=(-2.0, 2.0), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=(2, size)),), (rng.normal(size=size),)],
)  # fmt: skip
def every_second(x, out):
    """out[..., i] = x[..., 2 i]: ⌈n / 2⌉ elements"""
    source, target = x.reshape(-1), out.reshape(-1)
    n, m = x.shape[x.ndim - 1], out.shape[out.ndim - 1]
    for row in range(target.size // max(m, 1)):
        for i in range(m):
            target[row * m + i] = source[row * n + 2 * i]


# fault: the reference drops a batch axis of size 1
@kernel("(n)->()", reference=lambda x: np.sum(x * x, axis=-1).squeeze(), domain=(-2.0, 2.0), differentiable=False)
def row_energy(x, out):
    """out = Σ x²"""
    total = 0.0
    for i in range(x.size):
        total += x[i] * x[i]
    out[()] = total


# fault: the reference flattens batch axes
@kernel("(m),(n)->(m,n)", reference=np.outer, domain=(-2.0, 2.0), differentiable=False)
def all_products(x, y, out):
    """out[i, j] = x[i] y[j]"""
    for i in range(x.size):
        for j in range(y.size):
            out[i, j] = x[i] * y[j]


# fault: the reference takes a batch of vectors for a matrix
@kernel("(m,n),(n)->(m)", reference=lambda a, x: a @ x, domain=(-2.0, 2.0), differentiable=False)
def transform(a, x, out):
    """out = a x"""
    for i in range(out.size):
        total = 0.0
        for j in range(x.size):
            total += a[i, j] * x[j]
        out[i] = total


# fault: the reference takes the first two axes, which may be batch axes
@kernel("(n,n)->()", reference=np.trace, domain=(-2.0, 2.0), differentiable=False)
def diagonal_sum(a, out):
    """out = Σ a[i, i]"""
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i, i]
    out[()] = total


# fault: the reference counts in int64, as the documentation says, and the op declares no type
@kernel("(n)->()", reference=lambda x: np.count_nonzero(x > 0, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def count_positive(x, out):
    """out = the number of elements above 0, an int64"""
    total = 0
    for i in range(x.size):
        total += 1 if x[i] > 0 else 0
    out[()] = total


# fault: the reference repeats a flat copy of all axes
@kernel(
    shape=lambda x: (*x.shape[:-1], 2 * x.shape[-1]), reference=lambda x: np.repeat(x, 2), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=size),), (rng.normal(size=(2, size)),)],
)  # fmt: skip
def repeated_twice(x, out):
    """out[..., 2 i] = out[..., 2 i + 1] = x[..., i]"""
    source, target = x.reshape(-1), out.reshape(-1)
    for i in range(source.size):
        target[2 * i] = source[i]
        target[2 * i + 1] = source[i]


def _plus_offset(x, b):
    return x.shape


# fault: an operand of one row per sample is read as if it were one row for all
@kernel(
    shape=_plus_offset, reference=lambda x, b: x + b, domain=(-2.0, 2.0), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=(3, size + 1)), rng.normal(size=s)) for s in ((size + 1,), (1,), (3, 1))],
)  # fmt: skip
def plus_offset(x, b, out):
    """out = x + b, where b broadcasts to x"""
    source, offset, target = x.reshape(-1), b.reshape(-1), out.reshape(-1)
    for i in range(source.size):
        target[i] = source[i] + offset[i % offset.size]


def _pair(x):
    return TensorSpec((2, *x.shape), x.dtype)


# fault: with several axes, the second copy starts after the first axis instead of after all elements
@kernel(
    shape=_pair, reference=lambda x: np.stack([x, -x]), domain=(-2.0, 2.0), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=size),), (rng.normal(size=(size, 3)),)],
)  # fmt: skip
def with_opposite(x, out):
    """out[0] = x,  out[1] = -x"""
    source, target = x.reshape(-1), out.reshape(-1)
    target[:] = 0
    n = x.shape[0]
    for i in range(source.size):
        target[i] = source[i]
    for i in range(n):
        target[n + i] = -source[i]


def _rotated_shape(x):
    return (*x.shape[:-2], x.shape[-2], x.shape[-1])


# fault: the shape rule does not exchange the axes, which a square matrix hides
@kernel(
    shape=_rotated_shape, reference=lambda x: np.rot90(x, axes=(-2, -1)), domain=(-2.0, 2.0), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=(size, size)),), (rng.normal(size=(size, size + 1)),)],
)  # fmt: skip
def quarter_turn(x, out):
    """out = x turned by 90 degrees: (m, n) gives (n, m)"""
    m, n = x.shape
    source, target = x.reshape(-1), out.reshape(-1)
    for i in range(m):
        for j in range(n):
            target[(n - 1 - j) * m + i] = source[i * n + j]


# fault: the kernel with batch axes of its own assumes exactly one
@kernel(
    shape=lambda x: x.shape[:-1], reference=lambda x: np.sum(x, axis=-1), domain=(-2.0, 2.0), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=s),) for s in ((size,), (2, size), (3, 2, size))],
)  # fmt: skip
def last_axis_total(x, out):
    """out = Σ x along the last axis"""
    source, target = x.reshape(-1), out.reshape(-1)
    n = x.shape[x.ndim - 1]
    rows = x.shape[0] if x.ndim > 1 else 1
    target[:] = 0
    for row in range(rows):
        total = 0.0
        for i in range(n):
            total += source[row * n + i]
        target[row] = total
