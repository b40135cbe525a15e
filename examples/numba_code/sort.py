"""The elements of the last axis from smallest to largest, and where each of them came from.

    out[i] = x[order[i]]
    d_x[order[i]] = d_out[i]

Shapes: x, out and order (..., n). Dtypes: x and out floating or integer, order int64. Stable: equal elements keep their order, and
so does the gradient, which at a tie is one of several. NaN comes last, as in NumPy. Heapsort by value, then by index: it needs no
memory beside its outputs, and O(n log n) comparisons for every input.
Source: Williams, "Algorithm 232: Heapsort", Comm. ACM 7(6), 1964.
"""

import numpy as np
from numba import njit

from graphexec.plugin import kernel


@njit
def comes_before(x, a, b):
    """Whether x[a] belongs before x[b]."""
    if x[a] < x[b]:
        return True
    if x[b] < x[a]:
        return False
    a_nan, b_nan = x[a] != x[a], x[b] != x[b]
    if a_nan != b_nan:
        return b_nan
    return a < b


@njit
def sift_down(x, order, start, end):
    """Makes a heap of order[start:end], of which only the root may be out of place: the last element in front."""
    root = start
    while 2 * root + 1 < end:
        child = 2 * root + 1
        if child + 1 < end and comes_before(x, order[child], order[child + 1]):
            child += 1
        if not comes_before(x, order[root], order[child]):
            return
        order[root], order[child] = order[child], order[root]
        root = child


@njit
def argsort_into(x, order):
    """Fills `order` with the indices that sort x."""
    n = x.size
    for i in range(n):
        order[i] = i
    for start in range(n // 2 - 1, -1, -1):
        sift_down(x, order, start, n)
    for end in range(n - 1, 0, -1):
        order[0], order[end] = order[end], order[0]
        sift_down(x, order, 0, end)


def _reference(x):
    order = np.argsort(x, axis=-1, kind="stable")
    return np.take_along_axis(x, order, -1), order


def _examples(rng, size):
    for n in (0, 1, 2, 3, 9, size):
        yield (rng.permutation(n) / 4 - 1,)  # far apart: at a tie the gradient is one of several
    yield (rng.permutation(24).reshape(2, 3, 4) / 4 - 1,)
    yield (np.zeros((0, 3)),)
    yield (np.arange(17.0),)  # sorted already
    yield (-np.arange(17.0),)
    yield (rng.integers(-2, 3, (3, 17)),)  # ties: integers have no gradient
    yield (np.full(8, 3),)


@kernel("(n)->(n),(n)", outputs=("out", "order"), reference=_reference, kinds="fi", types={"order": "int64"}, examples=_examples)
def sort(x, out, order):
    argsort_into(x, order)
    for i in range(x.size):
        out[i] = x[order[i]]


@sort.backward
def _(d_out, order, d_x):
    for i in range(order.size):
        d_x[order[i]] = d_out[i]
