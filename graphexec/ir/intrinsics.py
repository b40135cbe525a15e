"""Functions that mean something inside compiled kernels only; `gemm.numba_intrinsics` teaches them to Numba."""

from __future__ import annotations

from typing import Any

GEMM_SCRATCH = 1 << 21
"""The ``scratch`` that a kernel must declare to call :func:`gemm`; at least what any processor's tiles need."""


def gemm(*args: Any) -> int:
    """The engine's matrix product, for kernels: see `graphexec.gemm` for what it takes. Compiled code only."""
    raise NotImplementedError("gemm runs inside compiled kernels only; in NumPy write a @ b")


def im2col(image: Any, patches: Any, low: int, high: int, first: int, last: int, kernel: Any, windows: Any,
           strides: Any, padding: Any, dilations: Any, lowest: int = 0) -> int:  # fmt: skip
    """Rows of the matrix that has what each window sees of an image as its columns; see `graphexec.gemm.im2col`."""
    raise NotImplementedError("im2col runs inside compiled kernels only")


def col2im(image: Any, patches: Any, low: int, high: int, first: int, last: int, kernel: Any, windows: Any,
         strides: Any, padding: Any, dilations: Any, lowest: int = 0) -> int:  # fmt: skip
    """Adds rows that `im2col` would give to the image that it would take them from. Compiled code only."""
    raise NotImplementedError("col2im runs inside compiled kernels only")


def array_at(address: int, size: int, like: Any) -> Any:
    """``size`` elements of the type of ``like`` at an address, such as that of scratch memory. Compiled code only."""
    raise NotImplementedError("addresses mean something inside compiled kernels only")


def prefetch(rows: Any, row: int) -> None:
    """Lets the processor fetch the beginning of a row, which is read soon; any number is allowed, and nothing changes.

    What comes behind the beginning the processor fetches by itself once it is read.
    """
