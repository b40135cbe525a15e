"""Random permutation of rows, computed from a key, in place; training shuffles each epoch with it.

    order = a permutation of 0 ... n - 1, all equally likely; the same key gives the same one

Shapes: order (n,), key (k,), such as a seed and an epoch. Dtypes: int64. Sources: Fisher and Yates's shuffle as in Knuth, TAOCP
2, 3.4.2; numbers from SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014),
bounded after Lemire, "Fast random integer generation in an interval", ACM TOMACS 29(1), 2019.
"""

import numpy as np

from graphexec.plugin import kernel

STEP, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
S30, S27, S31 = np.uint64(30), np.uint64(27), np.uint64(31)


def _mixed(z):
    z = (z ^ (z >> S30)) * FIRST
    z = (z ^ (z >> S27)) * SECOND
    return z ^ (z >> S31)


def _reference(order, key):
    order, key = np.asarray(order), np.asarray(key)
    out = np.empty_like(order)
    if out.ndim > 1 or key.ndim > 1:
        batch = np.broadcast_shapes(order.shape[:-1], key.shape[:-1])
        keys = np.broadcast_to(key, (*batch, key.shape[-1]))
        out = np.empty((*batch, order.shape[-1]), order.dtype)
        for at in np.ndindex(batch):
            out[at] = _reference(out[at], keys[at])
        return out
    out[:] = np.arange(out.size)
    with np.errstate(over="ignore"):
        state = np.uint64(0)
        for part in key.astype(np.uint64):
            state = _mixed((state ^ part) + STEP)
        for i in range(out.size - 1, 0, -1):
            bound = np.uint64(i + 1)
            state = state + STEP
            product = (_mixed(state) >> HALF) * bound
            while (product & LOW) < (LOW + np.uint64(1)) % bound:
                state = state + STEP
                product = (_mixed(state) >> HALF) * bound
            j = int(product >> HALF)
            out[i], out[j] = out[j], out[i]
    return out


def _examples(rng, size):
    for order, key in (((7,), (2,)), ((3, 5), (3, 1)), ((2, 4), (2, 3)), ((0,), (2,)), ((1,), (0,))):
        yield rng.integers(-9, 9, order), rng.integers(-(2**63), 2**63, key)  # any order: it is overwritten


@kernel("(n),(k)->(n)", reference=_reference, updates=("order",), types={"order": "int64", "key": "int64", "out": "int64"},
        differentiable=False, internal=True, errors={1: "it has more rows than numbers of 32 bits can tell apart"},
        examples=_examples)  # fmt: skip
def shuffle(order, key, out):
    if out.size > LOW:
        return 1
    for i in range(out.size):
        out[i] = i
    state = np.uint64(0)
    for part in key:
        state = _mixed((state ^ np.uint64(part)) + STEP)
    for i in range(out.size - 1, 0, -1):
        bound = np.uint64(i + 1)
        state = state + STEP
        product = (_mixed(state) >> HALF) * bound
        if (product & LOW) < bound:  # rare: only then is the division needed that decides which draws to reject
            while (product & LOW) < (LOW + np.uint64(1)) % bound:
                state = state + STEP
                product = (_mixed(state) >> HALF) * bound
        j = np.int64(product >> HALF)
        out[i], out[j] = out[j], out[i]
    return 0
