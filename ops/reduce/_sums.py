"""Sums of many elements, for array kernels and references."""

import numpy as np


def sum_of(x):
    """The sum of an array with one axis: blocks of 32 elements, and a compensated sum of the blocks (Kahan). Compiled code only.

    Error bound: 33 roundings of Σ|x|, however many elements there are.
    """
    total, error = 0.0, 0.0
    for first in range(0, x.size, 32):
        part = 0.0
        for i in range(first, min(first + 32, x.size)):
            part += x[i]
        part -= error
        after = total + part
        lost = (after - total) - part
        total, error = after, lost if lost == lost else 0.0  # it is NaN where the sum is infinite
    return total


def accurate_sum(x, axis=None, keepdims=False):
    """np.sum with float64 sums of float32 elements: NumPy itself adds rows one after another."""
    x = np.asarray(x)
    if x.dtype != np.float32:
        return np.sum(x, axis=axis, keepdims=keepdims)
    return np.sum(x, axis=axis, keepdims=keepdims, dtype=np.float64).astype(np.float32)
