"""Kernels that end the process."""

import numpy as np

from graphexec.plugin import array_at, kernel


# fault: it writes millions of elements beyond the end
@kernel("(n)->(n)", reference=lambda x: x * 1, domain=(-2.0, 2.0), differentiable=False)
def far_writer(x, out):
    """out = x"""
    for i in range(x.size):
        out[i] = x[i]
    for i in range(1 << 28):
        out[x.size + i] = 1


# fault: the address is that of nothing
@kernel("(n)->(n)", reference=lambda x: x + 0, domain=(-2.0, 2.0), differentiable=False)
def null_reader(x, out):
    """out = x"""
    table = array_at(0, 16, x)
    for i in range(x.size):
        out[i] = x[i] + table[i % 16]


# fault: it calls itself without an end
@kernel("(n)->()", reference=lambda x: np.sum(x, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def recursive_sum(x, out):
    """out = Σ x"""
    out[()] = _sum_from(x, 0)


def _sum_from(x, i):
    if i == x.size + 1:
        return 0.0
    return _sum_from(x, i + 2) + (x[i] if i < x.size else 0.0)


# fault: the address, which is in bytes, is multiplied by the size of an element
@kernel("(n)->(n)", reference=np.negative, domain=(-2.0, 2.0), differentiable=False)
def lost_address(x, out):
    """out = -x"""
    memory = array_at(x.ctypes.data * x.itemsize, x.size, x)
    for i in range(x.size):
        out[i] = -memory[i]


# fault: a value is used for an address without a check
@kernel(
    "(n),(n)->(n)", reference=lambda at, x: np.take_along_axis(x, np.clip(at, 0, max(x.shape[-1] - 1, 0)), -1),
    types={"at": "int64"}, domain={"at": (-10**12, 10**12), "x": (-2.0, 2.0)}, differentiable=False,
)  # fmt: skip
def wild_lookup(at, x, out):
    """out[i] = x[at[i]], where indices are limited to 0 ... n - 1"""
    for i in range(at.size):
        out[i] = x[at[i]]
