"""Kernels whose loop does not end for some operand or size."""

import numpy as np

from graphexec.plugin import elementwise, kernel


def _steps(x):
    out = np.zeros(x.shape, x.dtype)
    for at in np.ndindex(x.shape):
        n, steps = int(x[at]), 0
        while n > 1:
            n, steps = n // 2 if n % 2 == 0 else 3 * n + 1, steps + 1
        out[at] = steps
    return out


# fault: 0 and negative numbers never reach 1
@elementwise(reference=_steps, domain=(-3, 9), kinds="i")
def collatz_steps(x):
    """out = steps of n → n / 2 or 3 n + 1 until n = 1; 0 for n ≤ 1"""
    steps = 0
    while x != 1:
        x = x // 2 if x % 2 == 0 else 3 * x + 1
        steps += 1
    return steps


# fault: a NaN never converges
@elementwise(reference=np.cbrt, domain=(0.5, 8.0), differentiable=False)
def newton_cube_root(x):
    """out = ∛x for x ≥ 0, by Newton's method"""
    if x == 0 or x == np.inf:
        return x
    root = x + 1  # above the root, from where the steps descend until they are lost in rounding
    while True:
        following = root - (root - x / (root * root)) / 3
        if following >= root:
            return root
        root = following


# fault: subtraction of 0 does not end
@kernel("(n),(n)->(n)", reference=np.gcd, domain=(0, 9), kinds="i")
def common_divisor(x, y, out):
    """out = the greatest common divisor of x ≥ 0 and y ≥ 0"""
    for i in range(x.size):
        a, b = x[i], y[i]
        while a != b:
            if a > b:
                a -= b
            else:
                b -= a
        out[i] = a


# fault: half of 1 is 0, and the stride stays there
@kernel("(n)->()", reference=lambda x: np.sum(x, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def tree_sum(x, out):
    """out = Σ x"""
    total, at, width = 0.0, 0, max(x.size // 2, 0)
    while at < x.size:
        for i in range(at, min(at + width, x.size)):
            total += x[i]
        at += width
    out[()] = total


# fault: where the middle of two neighbours is the lower one, the search does not advance
@kernel(
    "(n),(m)->(m)", reference=lambda x, y: np.sum(x[..., :, None] < y[..., None, :], axis=-2), types={"out": "int64"},
    examples=lambda rng, size: [(np.sort(rng.normal(size=size)), rng.normal(size=3))], differentiable=False,
)  # fmt: skip
def place_in_table(x, y, out):
    """out[j] = how many elements of the ascending x lie below y[j]"""
    for j in range(y.size):
        low, high = 0, x.size
        while low < high:
            middle = (low + high) // 2
            if x[middle] < y[j]:
                low = middle
            else:
                high = middle
        out[j] = low
