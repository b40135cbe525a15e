"""Ops that are right for some element types, and truncate, overflow or lose digits in others."""

import numpy as np

from graphexec.plugin import elementwise, kernel

WEIGHTS = np.array([0.1, 0.2, 0.7], "float32")


# fault: the quotient of integers is cut towards 0 instead of rounded down
@elementwise(reference=lambda x: x // 2, domain=(-9, 9), kinds="i")
def halved(x):
    """out = ⌊x / 2⌋"""
    return int(x / 2)


# fault: the sum of two large integers overflows
@elementwise(reference=lambda a, b: (a >> 1) + (b >> 1) + (a & b & 1), domain=(-9, 9), kinds="i")
def midpoint(a, b):
    """out = ⌊(a + b) / 2⌋, for all integers"""
    return (a + b) >> 1


# fault: a bool is inverted bit by bit, which never gives 0
@elementwise(reference=np.invert, domain=(0, 1), kinds="ib")
def inverted(x):
    """out = not x for bools, the inverted bits for integers"""
    return -x - 1


# fault: the constant has the digits of float32
@elementwise(reference=lambda x: x / 3, domain=(-2.0, 2.0))
def third(x):
    """out = x / 3,  d_x = d_out / 3"""
    return x * np.float32(1 / 3)


# fault: float64 elements are added in float32
@kernel("(n)->()", reference=lambda x: np.sum(x, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def single_sum(x, out):
    """out = Σ x"""
    total = np.float32(0)
    for i in range(x.size):
        total = np.float32(total + np.float32(x[i]))
    out[()] = total


# fault: the count is declared a bool
@kernel(
    "(n)->()", reference=lambda x: np.sum(x, axis=-1), domain=(0, 1), kinds="b", types={"out": "bool"},
)  # fmt: skip
def count_true(x, out):
    """out = the number of elements that are true"""
    total = 0
    for i in range(x.size):
        total += 1 if x[i] else 0
    out[()] = total


# fault: the mean of integers is stored as an integer
@kernel(
    "(n)->()", reference=lambda x: np.sum(x, axis=-1) / max(x.shape[-1], 1), domain=(-9, 9), kinds="i", types={"out": "int64"},
)  # fmt: skip
def integer_mean(x, out):
    """out = Σ x / n, a float64; 0 for no elements"""
    total = 0
    for i in range(x.size):
        total += x[i]
    out[()] = total / max(x.size, 1)


# fault: large integers pass through float64, which has 53 bits
@elementwise(reference=lambda x: x + 1, domain=(-9, 9), kinds="i")
def next_integer(x):
    """out = x + 1"""
    return int(float(x) + 1.0)


# fault: the remainder of integers has the sign of the dividend
@elementwise(reference=lambda x: x % 3, domain=(-9, 9), kinds="i")
def modulo_three(x):
    """out = x mod 3, from 0 to 2"""
    return x - 3 * int(x / 3)


# fault: the table of weights is float32 whatever the operand is
@kernel("(3)->()", reference=lambda x: x @ np.array([0.1, 0.2, 0.7], x.dtype), domain=(-2.0, 2.0), differentiable=False)
def tabulated(x, out):
    """out = 0.1 x[0] + 0.2 x[1] + 0.7 x[2]"""
    total = 0.0
    for i in range(3):
        total += WEIGHTS[i] * x[i]
    out[()] = total


# fault: the index operand is declared float, and a large index is rounded
@kernel(
    "(n),(m)->(m)", reference=lambda x, at: x + at, types={"x": "int64", "at": "int64", "out": "float32"}, kinds="i",
    examples=lambda rng, size: [(rng.integers(0, 9, size), rng.integers(2**40, 2**41, size))],
    shape_only=(), domain=(0, 9),
)  # fmt: skip
def shifted_index(x, at, out):
    """out = x + at, for equal sizes: an int64"""
    for i in range(at.size):
        out[i] = x[i] + at[i]
