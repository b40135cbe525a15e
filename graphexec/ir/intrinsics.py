"""Functions that kernels call in compiled code; `gemm.numba_intrinsics` implements them for Numba."""

from __future__ import annotations

from typing import Any

GEMM_SCRATCH = 1 << 21
"""The ``scratch`` that a kernel must declare to call :func:`gemm`; enough for the tiles of any processor."""


def gemm(*args: Any) -> int:
    """Computes a matrix product with the engine's GEMM; `graphexec.gemm` describes the arguments. Compiled code only."""
    raise NotImplementedError("gemm runs only inside compiled kernels; in NumPy write a @ b")


def im2col(image: Any, patches: Any, low: int, high: int, first: int, last: int, kernel: Any, windows: Any,
           strides: Any, padding: Any, dilations: Any, lowest: int = 0) -> int:  # fmt: skip
    """Writes rows of the patch matrix, which has one column per window of an image; see `graphexec.gemm.im2col`."""
    raise NotImplementedError("im2col runs only inside compiled kernels")


def col2im(image: Any, patches: Any, low: int, high: int, first: int, last: int, kernel: Any, windows: Any,
         strides: Any, padding: Any, dilations: Any, lowest: int = 0) -> int:  # fmt: skip
    """Adds rows of the patch matrix back to the image: the transpose of `im2col`. Compiled code only."""
    raise NotImplementedError("col2im runs only inside compiled kernels")


def array_at(address: int, size: int, like: Any) -> Any:
    """Returns the array of ``size`` elements at an address in scratch memory, with the dtype of ``like``. Compiled code only."""
    raise NotImplementedError("array_at runs only inside compiled kernels")


def prefetch(rows: Any, row: int) -> None:
    """Prefetches the beginning of a row that will soon be read. Any row number is allowed; results do not change.

    Once the kernel reads the beginning, the processor's own prefetcher fetches the rest.
    """
