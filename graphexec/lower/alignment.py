"""Arrays that start on a cache line."""

from __future__ import annotations

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
