"""Functions for use inside compiled kernels; `gemm.numba_intrinsics` teaches them to Numba."""

from __future__ import annotations

from typing import Any

GEMM_SCRATCH = 1 << 21
"""The ``scratch`` that a kernel must declare to call :func:`gemm`; at least what any processor's tiles need."""


def gemm(*args: Any) -> int:
    """The engine's matrix product, for kernels: see `graphexec.gemm` for what it takes. Compiled code only."""
    raise NotImplementedError("gemm runs inside compiled kernels only; in NumPy write a @ b")


def im2col(image: Any, patches: Any, low: int, high: int, first: int, last: int, kernel: Any, windows: Any,
           strides: Any, padding: Any, dilations: Any, lowest: int = 0) -> int:  # fmt: skip
    """Writes rows of the patch matrix, which has a column for each window of an image; see `graphexec.gemm.im2col`."""
    raise NotImplementedError("im2col runs inside compiled kernels only")


def col2im(image: Any, patches: Any, low: int, high: int, first: int, last: int, kernel: Any, windows: Any,
         strides: Any, padding: Any, dilations: Any, lowest: int = 0) -> int:  # fmt: skip
    """Adds rows of the patch matrix back to the image: the transpose of `im2col`. Compiled code only."""
    raise NotImplementedError("col2im runs inside compiled kernels only")


def array_at(address: int, size: int, like: Any) -> Any:
    """An array of ``size`` elements at an address, with the dtype of ``like``, for scratch memory. Compiled code only."""
    raise NotImplementedError("addresses mean something inside compiled kernels only")


def prefetch(rows: Any, row: int) -> None:
    """Asks the processor to fetch the beginning of a row that is read soon. Any row number is allowed; results do not change.

    Once a row's beginning is read, the processor fetches the rest by itself.
    """
