"""Arrays that start on a cache line, and the addresses of arrays."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import numpy as np

from graphexec.abi import ALIGNMENT
from graphexec.ir.spec import check_memory, out_of_memory


def rounded(nbytes: int) -> int:
    """The bytes that a block of ``nbytes`` occupies in the arena: whole cache lines, at least one."""
    return max(-(-nbytes // ALIGNMENT) * ALIGNMENT, ALIGNMENT)


def aligned(nbytes: int) -> np.ndarray:
    """Zeroed memory that starts on a cache line. *Raises* OutOfMemoryError."""
    check_memory(nbytes, "the graph")
    try:
        raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
    except MemoryError:
        raise out_of_memory(nbytes, "the graph") from None
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


def aligned_array(array: np.ndarray) -> np.ndarray:
    """A C-contiguous copy of an array that starts on a cache line."""
    new = aligned(array.nbytes).view(array.dtype).reshape(array.shape)
    new[...] = array
    return new


def _looked_up(array: np.ndarray) -> int:
    """The address in NumPy's object: its first field after those that all Python objects have."""
    return _WORD(id(array) + object.__basicsize__).value or 0


def _asked(array: np.ndarray) -> int:
    return int(array.ctypes.data)


_WORD = ctypes.c_void_p.from_address


def _is_looked_up() -> bool:
    """Whether objects here have that layout, which is part of NumPy's binary interface, under CPython."""
    probes = [np.empty(n, np.uint8)[k:] for n, k in ((1, 0), (64, 3), (4096, 100))]
    return sys.implementation.name == "cpython" and all(_looked_up(probe) == _asked(probe) for probe in probes)


address_of: Callable[[np.ndarray], int] = _looked_up if _is_looked_up() else _asked
"""The address of an array's first element, six times as fast as ``array.ctypes.data``."""
