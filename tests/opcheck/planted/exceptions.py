"""Ops of which a part raises: the reference, the shape rule, the plain Python function, the compiler, the kernel."""

import math as libm

import numpy as np

from graphexec.plugin import ShapeError, TensorSpec, composite, elementwise, kernel, ops


# fault: the reference raises for batch axes
@kernel("(n),(n)->()", reference=np.dot, domain=(-2.0, 2.0), differentiable=False)
def inner_product(x, y, out):
    """out = Σ x y"""
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    out[()] = total


# fault: the reference raises for no elements
@kernel("(n)->(n)", reference=lambda x: x - x.max(axis=-1, keepdims=True), domain=(-2.0, 2.0), differentiable=False)
def below_top(x, out):
    """out = x - max x"""
    top = -np.inf
    for i in range(x.size):
        top = x[i] if x[i] > top or x[i] != x[i] else top
    for i in range(x.size):
        out[i] = x[i] - top


# fault: the reference asks for the precision of a floating type, and the op takes integers too
@elementwise(reference=lambda x: x * x * (1 if np.finfo(x.dtype).eps < 1 else 0), domain=(-9, 9), kinds="fi", differentiable=False)
def squared_any(x):
    """out = x²"""
    return x * x


def _ratio_shape(x):
    if x.ndim == 0:
        raise ShapeError("x is a scalar", todo="Give it an axis.")
    return (*x.shape[:-1], 60 // x.shape[-1])


# fault: the shape rule divides by a size that may be 0
@kernel(
    shape=_ratio_shape, reference=lambda x: np.zeros((*x.shape[:-1], 60 // max(x.shape[-1], 1)), x.dtype), domain=(-2.0, 2.0),
    differentiable=False,
)  # fmt: skip
def sixty_over(x, out):
    """out = ⌊60 / n⌋ zeros along the last axis, and none for n = 0"""
    out.reshape(-1)[:] = 0


def _blocks(x):
    if x.ndim == 0:
        raise ShapeError("x is a scalar", todo="Give it an axis.")
    if x.shape[-1] % 2:
        raise ValueError("odd")
    return (*x.shape[:-1], x.shape[-1] // 2)


# fault: the shape rule raises a bare ValueError for odd sizes, which the equation allows
@kernel(shape=_blocks, reference=lambda x: x[..., 1::2], domain=(-2.0, 2.0), differentiable=False)
def odd_places(x, out):
    """out[..., i] = x[..., 2 i + 1]: ⌊n / 2⌋ elements"""
    source, target = x.reshape(-1), out.reshape(-1)
    for i in range(target.size):
        target[i] = source[2 * i + 1]


# fault: as plain Python, math.sqrt raises for negative numbers instead of giving NaN
@elementwise(reference=np.sqrt, domain=(-1.0, 2.0), differentiable=False)
def library_root(x):
    """out = √x, NaN below 0"""
    return libm.sqrt(x)


# fault: Numba compiles no formatted text of a float with a precision
@kernel("(n)->(n)", reference=lambda x: np.round(x, 2), domain=(-2.0, 2.0), differentiable=False)
def two_digits(x, out):
    """out = x rounded to two decimal places"""
    for i in range(x.size):
        out[i] = float(f"{x[i]:.2f}")


# fault: Numba compiles no np.errstate
@elementwise(reference=np.square, domain=(-2.0, 2.0), differentiable=False)
def quiet_square(x):
    """out = x²"""
    with np.errstate(over="ignore"):
        return x * x


# fault: Numba does not know the function that the backward kernel calls
@kernel("(n)->(n)", reference=lambda x: np.cumsum(x, axis=-1), domain=(-2.0, 2.0))
def summed_up(x, out):
    """out[i] = Σ x[0 ... i],  d_x[i] = Σ d_out[i ...]"""
    total = 0.0
    for i in range(x.size):
        total += x[i]
        out[i] = total


@summed_up.backward
def _(d_out, d_x):
    d_x[:] = np.flip(np.add.accumulate(np.flip(d_out)))


# fault: Numba compiles np.finfo for floating types only
@kernel("(n)->(n)", reference=lambda x: np.abs(x) + 0, domain=(-9, 9), kinds="fi", differentiable=False)
def magnitude(x, out):
    """out = |x|"""
    least = np.finfo(x.dtype).tiny
    for i in range(x.size):
        out[i] = abs(x[i]) if not abs(x[i]) < least else 0


# fault: the kernel raises an exception instead of returning a status
@kernel("(n)->(n)", reference=lambda x: np.sqrt(x), domain=(-1.0, 2.0), differentiable=False)
def checked_root(x, out):
    """out = √x, NaN below 0"""
    for i in range(x.size):
        if x[i] < 0:
            raise ValueError("a negative number has no root")
        out[i] = np.sqrt(x[i])


# fault: the kernel returns a status that errors= does not list
@kernel("(n)->(n)", reference=lambda x: 1 / x, domain=(-2.0, 2.0), differentiable=False, errors={1: "a number is 0"},
        examples=lambda rng, size: [(rng.integers(-2, 3, size) + 0.0,)])  # fmt: skip
def inverse_checked(x, out):
    """out = 1 / x; raises KernelError for 0"""
    for i in range(x.size):
        if x[i] == 0:
            return 2
        out[i] = 1 / x[i]
    return 0


# fault: a scalar has no last axis
@composite(reference=lambda x: x / (1 + np.abs(x)), domain=(-2.0, 2.0))
def squashed(x):
    """out = x / (1 + |x|), for any shape"""
    if x.shape[-1] == 0:
        return x
    return x / (1 + ops.abs(x))


# fault: the rule returns one delta for two operands
@elementwise(reference=np.multiply, domain=(-2.0, 2.0))
def times(x, y):
    """out = x y,  d_x = y d_out,  d_y = x d_out"""
    return x * y


@times.gradient
def _(d_out, y):
    return d_out * y


def _wide(x):
    if x.ndim != 2:
        raise ShapeError(f"x has {x.ndim} axes", todo="Give it 2.")
    return TensorSpec((x.shape[1], x.shape[0]), "float23")


# fault: the shape rule names a dtype that does not exist
@kernel(shape=_wide, reference=lambda x: x.T, domain=(-2.0, 2.0), differentiable=False)
def turned(x, out):
    """out[j, i] = x[i, j]"""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[j, i] = x[i, j]
