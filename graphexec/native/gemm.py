"""The matrix product C = A B of the library: any strides, one compiled entry for each dtype.

    gemm(c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, accumulate, bias, work, piece, pieces) -> 0

    C[m, n] = (C if accumulate else 0) + A[m, k] B[k, n] (+ bias[n] on every row, if `bias` is not 0)

Every argument is an int64. Addresses are plain integers; strides count elements. C is row-major with leading dimension
`ldc`. One stride of A and one of B is 1, or the dimension beside it has size 1, so all four transpositions are covered.
`work` is scratch of this thread: `work_size(dtype)` bytes, aligned to `WORK_ALIGNMENT`. k == 0 leaves (C +) bias.

Scheme (Goto and van de Geijn 2008; BLIS, Van Zee and van de Geijn 2015): k is cut into blocks of equal depth, a
function of k alone; columns into blocks whose packed panels fit the second-level cache; rows into blocks of register
tiles. An operand is packed where its own layout would make the kernel wait, and read in place otherwise. Products of
few rows use wider register tiles; one row by a transposed B, and one column, are dot products along k.

Threads: each calls with the same arguments but its own `piece` < `pieces` and its own `work`, and computes a rectangle
of C. k is never divided and each element has one chain of operations, so the bits of C do not depend on `pieces`.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from graphexec.native.gemm_kernels import ADD_BIAS, ADD_C, kernels
from graphexec.native.gemm_target import Target, target_for

WORK_ALIGNMENT = 64  #: bytes


def work_size(dtype: DTypeLike, features: Mapping[str, bool] | str | None = None) -> int:
    """Bytes of scratch each thread hands to `gemm`."""
    return target_for(dtype, features).work_bytes


def worthwhile_pieces(m: int, n: int, k: int, item: int = 4) -> int:
    """How many threads one product is worth: 10 microseconds for each, about 100 GFLOP/s or 20 GB/s."""
    nanoseconds = max(m * n * k * item // 200, (m * k + k * n + m * n) * item // 20)
    return max(min(nanoseconds // 10_000, (m + 7) // 8 * ((n + 31) // 32)), 1)


def gemm_function(dtype: DTypeLike, features: Mapping[str, bool] | str | None = None) -> Callable[..., int]:
    """The matrix product of `dtype` as a Python function that Numba compiles.

    `features` are LLVM feature flags, or the name of an instruction set (`avx512`, `avx2`, `neon`, `scalar`), in place
    of the host's. Raises ValueError for other dtypes.
    """
    return _build(target_for(dtype, features))


@lru_cache(None)
def _build(target: Target) -> Callable[..., int]:
    empty, column, row_of_dots, strips, blocks = (
        make(target) for make in (_empty, _column, _row_of_dots, _strips, _blocks))
    tile, strip = kernels(target).tile, kernels(target).strip
    most_rows, most_columns, depth = target.rows, target.columns, target.depth
    few, few_dots = target.strips[-1][0], target.dot_rows
    masks = target.masks

    def gemm(c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, accumulate, bias, work, piece, pieces):  # type: ignore[no-untyped-def]
        flags = (ADD_C if accumulate else 0) | (ADD_BIAS if bias else 0)
        by_rows = csb == 1 or n == 1
        if m <= 0 or n <= 0:
            return 0
        if k <= 0:
            empty(c, ldc, m, n, flags, bias, piece, pieces)
        elif masks and by_rows and 1 < n <= most_columns and m <= most_rows and k <= depth:
            if piece == 0:
                tile(a, rsa, csa, b, rsb, c, ldc, k, m, n, flags, bias)
        elif n == 1:
            column(c, ldc, a, rsa, csa if k > 1 else 1, b, rsb, m, k, flags, bias, work, piece, pieces)
        elif by_rows and m <= few:
            strips(c, ldc, a, rsa, csa, b, rsb, m, n, k, flags, bias, piece, pieces)
        elif m <= few_dots and not by_rows:
            for i in range(m):
                row_of_dots(c + i * ldc * item, 1, a + i * rsa * item, csa, b, csb, n, k, flags, bias, 1, work,
                            piece, pieces)
        else:
            blocks(c, ldc, a, rsa, csa if k > 1 else 1, b, rsb, csb, m, n, k, flags, bias, work, piece, pieces)
        return 0

    item = target.item
    return gemm


@lru_cache(None)
def _empty(target: Target) -> Any:
    """No products to sum: zeros, what was there, the bias."""
    item, load, store = target.item, kernels(target).load, kernels(target).store
    zero = np.float32(0) if item == 4 else np.float64(0)

    @njit(nogil=True, inline="always")
    def empty(c, ldc, m, n, flags, bias, piece, pieces):  # type: ignore[no-untyped-def]
        for i in range(m * piece // pieces, m * (piece + 1) // pieces):
            for j in range(n):
                out = c + (i * ldc + j) * item
                value = load(out) if flags & ADD_C else zero
                if flags & ADD_BIAS:
                    value += load(bias + j * item)
                store(out, value)

    return empty


@lru_cache(None)
def _strips(target: Target) -> Any:
    """Few rows, B by rows: B streams past once."""
    item, lanes, depth, strip = target.item, target.lanes, target.depth, kernels(target).strip
    heights = [rows for rows, _ in target.strips]
    vectors = [next(v for rows, v in target.strips if rows >= m) for m in range(1, heights[-1] + 1)]
    widths = tuple([0, *(v * lanes for v in vectors)])

    @njit(nogil=True, inline="always")
    def strips(c, ldc, a, rsa, csa, b, ldb, m, n, k, flags, bias, piece, pieces):  # type: ignore[no-untyped-def]
        width = widths[m]
        count = (n + width - 1) // width
        first, last = count * piece // pieces * width, min(count * (piece + 1) // pieces * width, n)
        passes = (k + depth - 1) // depth
        for p in range(passes):
            k0, k1 = k * p // passes, k * (p + 1) // passes
            for j in range(first, last, width):
                strip(a + k0 * csa * item, rsa, csa, b + (k0 * ldb + j) * item, ldb, c + j * item, ldc, k1 - k0,
                      m, min(width, last - j), flags if p == 0 else ADD_C, bias + j * item)

    return strips


@lru_cache(None)
def _row_of_dots(target: Target) -> Any:
    """One row by a transposed B: dot products of x and the rows of y, k in one block or equal ones."""
    item, depth = target.item, target.dot_depth
    dots, load, store = kernels(target).dots, kernels(target).load, kernels(target).store

    @njit(nogil=True, inline="always")
    def row_of_dots(out, distance, x, step, y, ldy, n, k, flags, bias, bias_step, work, piece, pieces):  # type: ignore[no-untyped-def]
        quads = (n + 3) // 4
        first, last = quads * piece // pieces * 4, min(quads * (piece + 1) // pieces * 4, n)
        passes = (k + depth - 1) // depth
        for p in range(passes):
            k0, k1 = k * p // passes, k * (p + 1) // passes
            part = x + k0 * step * item
            if step != 1:
                for kk in range(k1 - k0):
                    store(work + kk * item, load(part + kk * step * item))
                part = work
            for j in range(first, last, 4):
                dots(out + j * distance * item, distance, part, y + (j * ldy + k0) * item, ldy, min(4, last - j),
                     k1 - k0, 1 if p else flags & ADD_C)
        if flags & ADD_BIAS:
            for j in range(first, last):
                at = out + j * distance * item
                store(at, load(at) + load(bias + j * bias_step * item))

    return row_of_dots


@lru_cache(None)
def _column(target: Target) -> Any:
    """One column: dot products if A is by rows, else the same as one row, by way of scratch."""
    item, strips, row_of_dots = target.item, _strips(target), _row_of_dots(target)
    load, store, chunk = kernels(target).load, kernels(target).store, 2048

    @njit(nogil=True, inline="always")
    def column(c, ldc, a, rsa, csa, b, rsb, m, k, flags, bias, work, piece, pieces):  # type: ignore[no-untyped-def]
        if csa == 1:
            row_of_dots(c, ldc, b, rsb, a, rsa, m, k, flags, bias, 0, work, piece, pieces)
            return
        chunks = (m + chunk - 1) // chunk
        for i in range(chunks * piece // pieces * chunk, min(chunks * (piece + 1) // pieces * chunk, m), chunk):
            rows = min(chunk, m - i)
            strips(work, rows, b, 0, rsb, a + i * item, csa, 1, rows, k, 0, 0, 0, 1)
            for r in range(rows):
                at, value = c + (i + r) * ldc * item, load(work + r * item)
                if flags & ADD_C:
                    value += load(at)
                if flags & ADD_BIAS:
                    value += load(bias)
                store(at, value)

    return column


@lru_cache(None)
def _pack(target: Target) -> Any:
    """A panel of `width` rows of x (as a B^T or an A) or of columns, `distance` elements from one k to the next."""
    item, lanes = target.item, target.lanes
    copy, transpose = kernels(target).pack_copy, kernels(target).pack_transpose

    @njit(nogil=True, inline="always")
    def pack(out, distance, x, across, along, width, k):  # type: ignore[no-untyped-def]
        for i in range(0, width, lanes):
            if along == 1:
                transpose(out + i * item, distance, x + i * across * item, across, min(lanes, width - i), k)
            else:
                copy(out + i * item, distance, x + i * item, along, min(lanes, width - i), k)

    return pack


@lru_cache(None)
def _share(target: Target) -> Any:
    """The rectangle of C that is `piece`'s: the grid of pieces with the least work for the busiest."""
    tall, wide = target.rows, target.columns

    @njit(nogil=True, inline="always")
    def share(m, n, piece, pieces):  # type: ignore[no-untyped-def]
        if pieces == 1:
            return 0, m, 0, n
        tiles, panels = (m + tall - 1) // tall, (n + wide - 1) // wide
        down, least = 1, -1
        for rows in range(1, pieces + 1):
            columns = pieces // rows
            t, p = (tiles + rows - 1) // rows, (panels + columns - 1) // columns
            cost = (t * p * 8 + t + 2 * p) if rows * columns == pieces else -1
            if cost >= 0 and (least < 0 or cost < least):
                down, least = rows, cost
        across = pieces // down
        i, j = piece // across, piece % across
        return (min(tiles * i // down * tall, m), min(tiles * (i + 1) // down * tall, m),
                min(panels * j // across * wide, n), min(panels * (j + 1) // across * wide, n))

    return share


@lru_cache(None)
def _blocks(target: Target) -> Any:
    """The general product: blocks of columns, of k, of rows, then register tiles."""
    item, masks, depth, packed = target.item, target.masks, target.depth, target.packed_rows
    tall, wide, row_block, column_block = target.rows, target.columns, target.row_block, target.column_block
    panel_bytes, block_bytes = target.panel_bytes, target.block_bytes
    tile, pack, share = kernels(target).tile, _pack(target), _share(target)
    b_rows, a_columns = target.b_rows, target.a_columns

    @njit(nogil=True, inline="always")
    def blocks(c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, flags, bias, work, piece, pieces):  # type: ignore[no-untyped-def]
        top, bottom, left, right = share(m, n, piece, pieces)
        pack_a = right - left >= a_columns
        pack_b = csb != 1 or bottom - top >= b_rows
        passes = (k + depth - 1) // depth
        for j0 in range(left, right, column_block):
            j1 = min(j0 + column_block, right)
            for p in range(passes):
                k0 = k * p // passes
                kb = k * (p + 1) // passes - k0
                now = flags if p == 0 else ADD_C
                for i0 in range(top, bottom, row_block):
                    pairs = (min(row_block, bottom - i0) + 1) // 2
                    tiles = (2 * pairs + tall - 1) // tall
                    for j in range(j0, j1, wide):
                        cols = min(wide, j1 - j)
                        b_now, ldb = b + (k0 * rsb + j * csb) * item, rsb
                        if pack_b or (not masks and cols < wide):
                            panel = work + block_bytes + (j - j0) * kb * item
                            if i0 == top:
                                pack(panel, wide, b_now, csb, rsb, cols, kb)
                            b_now, ldb = panel, wide
                        for t in range(tiles):
                            i = i0 + pairs * t // tiles * 2
                            rows = min(i0 + pairs * (t + 1) // tiles * 2, bottom) - i
                            a_now, down, along = a + (i * rsa + k0 * csa) * item, rsa, csa
                            if pack_a:
                                panel = work + t * panel_bytes
                                if j == j0:
                                    pack(panel, packed, a_now, rsa, csa, rows, kb)
                                a_now, down, along = panel, 1, packed
                            tile(a_now, down, along, b_now, ldb, c + (i * ldc + j) * item, ldc, kb, rows, cols, now,
                                 bias + j * item)

    return blocks
