"""Kernels and views that are right for contiguous memory only, and views that leave their memory."""

import numpy as np

from graphexec.plugin import ShapeError, View, array_at, kernel, ops, view


def _same(x):
    return x.shape


def _matrices(rng, size):
    yield (rng.normal(size=(size, 3)),)
    yield (rng.normal(size=(3, size)).T,)
    yield (rng.normal(size=(size, 6))[:, ::2],)
    yield (rng.normal(size=(size, 3))[::-1],)


# fault: it takes any strides and reads the memory from front to back
@kernel(shape=_same, reference=lambda x: 3 * x, examples=_matrices, strided=("x",), differentiable=False)
def tripled(x, out):
    """out = 3 x"""
    source, target = array_at(x.ctypes.data, x.size, x), out.reshape(-1)
    for i in range(x.size):
        target[i] = 3 * source[i]


# fault: it follows the stride of the rows and takes that of the columns for 1
@kernel(shape=_same, reference=lambda x: -x, examples=_matrices, strided=("x",), differentiable=False)
def opposite(x, out):
    """out = -x, for matrices"""
    for i in range(x.shape[0]):
        row = array_at(x.ctypes.data + i * x.strides[0], x.shape[1], x)
        for j in range(x.shape[1]):
            out[i, j] = -row[j]


# fault: the stride of a reversed operand loses its sign
@kernel(shape=_same, reference=lambda x: x + 2, examples=_matrices, strided=("x",), differentiable=False)
def two_more(x, out):
    """out = x + 2, for matrices"""
    for i in range(x.shape[0]):
        row = array_at(x.ctypes.data + i * abs(x.strides[0]), 1, x)
        for j in range(x.shape[1]):
            out[i, j] = (row[0] if j == 0 else x[i, j]) + 2


# fault: y is read with the strides of x
@kernel(
    shape=lambda x, y: x.shape, reference=np.multiply, strided=("x", "y"), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=(size, 3)), rng.normal(size=(3, size)).T)],
)  # fmt: skip
def elementwise_product(x, y, out):
    """out = x y, for matrices of one shape"""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            other = array_at(y.ctypes.data + i * x.strides[0] + j * x.strides[1], 1, y)
            out[i, j] = x[i, j] * other[0]


# fault: the diagonal's stride is counted from the shape, as if the matrix were contiguous
@view(reference=lambda x: np.diagonal(x, axis1=-2, axis2=-1), domain=(-2.0, 2.0), differentiable=False)
def main_diagonal(x):
    """out[..., i] = x[..., i, i]"""
    if x.ndim < 2:
        raise ShapeError(f"x has {x.ndim} axes", op="main_diagonal", todo="Give it at least 2.")
    n = min(x.shape[-2:])
    return View((*x.shape[:-2], n), (*x.strides[:-2], x.shape[-1] + 1), x.offset)


# fault: the offset of a column is not multiplied by the stride
@view(
    reference=lambda x, *, k=0: x[..., k], domain=(-2.0, 2.0), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=(3, size + 1)), {"k": k}) for k in {0, size // 2, size}],
)  # fmt: skip
def column(x, *, k=0):
    """out = x[..., k] for k from 0 to n - 1"""
    return View(x.shape[:-1], x.strides[:-1], x.offset + k)


# fault: rounded down, the last element of some rows is missing
@view(reference=lambda x: x[..., ::3], domain=(-2.0, 2.0), differentiable=False)
def every_third(x):
    """out[..., i] = x[..., 3 i]: ⌈n / 3⌉ elements"""
    return View((*x.shape[:-1], x.shape[-1] // 3), (*x.strides[:-1], 3 * x.strides[-1]), x.offset)


# fault: the strides of the pairs are those of contiguous memory
@view(
    reference=lambda x: x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=(3, 2 * size)),), (rng.normal(size=2 * size),)],
)  # fmt: skip
def in_pairs(x):
    """out[..., i, j] = x[..., 2 i + j], for an even last axis"""
    return View((*x.shape[:-1], x.shape[-1] // 2, 2), (*x.strides[:-1], 2, 1), x.offset)


# fault: one window too many: the last one ends after the memory
@view(
    reference=lambda x, *, size=2: np.lib.stride_tricks.sliding_window_view(x, size, axis=-1), differentiable=False,
    examples=lambda rng, size: [(rng.normal(size=size + 3), {"size": k}) for k in (1, 2, 3)],
)  # fmt: skip
def windows_of(x, *, size: int = 2):
    """out[..., i, j] = x[..., i + j] for the n - size + 1 windows"""
    count = x.shape[-1] - size + 2
    return View((*x.shape[:-1], count, size), (*x.strides, x.strides[-1]), x.offset)


# fault: the reversed view starts one element after the end
@view(reference=lambda x: x[..., ::-1], domain=(-2.0, 2.0))
def mirrored(x):
    """out[..., i] = x[..., n - 1 - i],  d_x = mirrored(d_out)"""
    return View(x.shape, (*x.strides[:-1], -x.strides[-1]), x.offset + x.shape[-1] * x.strides[-1])


@mirrored.gradient
def _(d_out):
    return ops.mirrored(d_out)
