"""Ops whose result depends on more than their operands: random numbers, clocks, counters, earlier calls."""

import time

import numpy as np

from graphexec.plugin import array_at, composite, elementwise, kernel, ops, shape_value

CALLS = np.zeros(1)
ADDRESS = CALLS.ctypes.data
SEEN: list[int] = []
LAST: dict[str, float] = {}


# fault: the kernel draws random numbers
@kernel("(n)->(n)", reference=lambda x: x * 1.0, domain=(-2.0, 2.0), differentiable=False)
def noisy(x, out):
    """out = x, rounded at random in the last places"""
    for i in range(x.size):
        out[i] = x[i] + 0.01 * np.random.random()  # noqa: NPY002


# fault: a counter in a global array is added to the result
@kernel("(n)->(n)", reference=lambda x: x + 1, domain=(-2.0, 2.0), differentiable=False)
def counted(x, out):
    """out = x + 1"""
    calls = array_at(ADDRESS, 1, x)
    calls[0] += 1
    for i in range(x.size):
        out[i] = x[i] + calls[0]


# fault: the reference and the function draw from different random numbers in each call
@elementwise(reference=lambda x: x + np.random.default_rng().normal(size=x.shape), domain=(-2.0, 2.0), differentiable=False)
def jittered(x):
    """out = x + noise of deviation 1"""
    return x + np.random.normal()  # noqa: NPY002


# fault: the value is the time
@shape_value(domain=(-1.0, 1.0))
def time_stamp(x):
    """out = the seconds since some moment"""
    return np.float64(time.perf_counter())


# fault: the value counts how often it was asked for
@shape_value(domain=(-1.0, 1.0))
def serial_number(x):
    """out = the number of axes of x"""
    SEEN.append(x.ndim)
    return np.int64(x.ndim + len(SEEN))


# fault: scratch memory keeps the largest element of all earlier rows
@kernel("(n)->(n)", reference=lambda x: np.abs(x), domain=(-2.0, 2.0), scratch=16, differentiable=False)
def absolute_above_last(x, out, scratch):
    """out = |x|"""
    kept = array_at(scratch, 1, x)
    for i in range(x.size):
        out[i] = abs(x[i]) if not kept[0] > 1.5 else x[i]
        kept[0] = abs(x[i])


# fault: the factor is that of the first call, whatever the attribute says later
@composite(reference=lambda x, *, factor=2.0: factor * x, domain=(-2.0, 2.0))
def scaled_once(x, *, factor=2.0):
    """out = factor x"""
    return ops.multiply(x, LAST.setdefault("factor", factor))
