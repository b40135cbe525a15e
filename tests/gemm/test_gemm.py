"""The matrix product against NumPy in float64: shapes, transpositions, edges, sharing, special values."""

import ctypes
import mmap
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numba import njit

from graphexec.gemm.driver import BY_COLUMNS, BY_ROWS, PANELS
from graphexec.gemm.partition import most_pieces_by_rows, panels
from graphexec.gemm.standalone import WORK_ALIGNMENT, gemm_function, work_size
from graphexec.gemm.target import host_features, target_for

ISAS = ("avx512", "avx2", "neon", "scalar") if "avx512vl" in host_features() else ("avx2", "neon", "scalar")
COMPILED = [
    pytest.param(isa, dtype, marks=pytest.mark.slow) if (isa, dtype) == ("neon", "float64") else (isa, dtype)
    for isa in ISAS
    for dtype in ("float32", "float64")
]
"""Narrow vectors are many instructions to compile, and differ by their width alone."""
DTYPES = ("float32", "float64")
#: Error allowed for each product summed, relative to the sum of the products' magnitudes: a chain of k roundings.
EPSILON = {"float32": 2.0**-24, "float64": 2.0**-53}
SPECIAL = [(1, 1, 1), (1, 300, 40), (300, 1, 40), (2, 200, 33), (3, 33, 129), (5, 70, 600), (40, 10, 90), (90, 7, 530),
           (33, 65, 63), (14, 32, 8), (15, 33, 513), (4, 8, 2), (4, 1, 8), (1, 5, 4100), (6, 3, 5000), (270, 600, 20),
           (100, 530, 17), (260, 530, 530), (16, 64, 64), (32, 60, 130), (64, 17, 64), (200, 24, 50), (90, 36, 70)]


@lru_cache(None)
def compiled(dtype: str, isa: str | None) -> Any:
    product = njit(nogil=True)(gemm_function(dtype, isa))

    @njit(nogil=True)
    def call(c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, accumulate, bias, work, piece, pieces):  # type: ignore[no-untyped-def]
        return product(c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, accumulate, bias, work, piece, pieces)

    return call


@lru_cache(None)
def scratch(dtype: str, isa: str | None) -> Any:
    room = np.full(work_size(dtype, isa) + WORK_ALIGNMENT, 0xFF, np.uint8)  # NaNs
    start = -room.ctypes.data % WORK_ALIGNMENT
    return room[start : start + work_size(dtype, isa)]


def multiply(isa: str | None, c: Any, a: Any, b: Any, accumulate: int = 0, bias: Any = None, pieces: int = 1) -> None:
    """c (+)= a @ b (+ bias), with whatever strides the arrays have, one piece after another."""
    dtype, item = str(c.dtype), c.itemsize
    for piece in range(pieces):
        compiled(dtype, isa)(
            c.ctypes.data, c.strides[0] // item, a.ctypes.data, a.strides[0] // item, a.strides[1] // item,
            b.ctypes.data, b.strides[0] // item, b.strides[1] // item, *c.shape, a.shape[1], accumulate,
            0 if bias is None else bias.ctypes.data, scratch(dtype, isa).ctypes.data, piece, pieces)


def matrix(rng: Any, rows: int, columns: int, transposed: bool, extra: int, dtype: str) -> Any:
    """A random matrix inside a larger one of NaN, stored transposed or not."""
    shape = (columns, rows) if transposed else (rows, columns)
    room = np.full((shape[0] + 2, shape[1] + 2 * extra), np.nan, dtype)
    inside = room[1:-1, extra : extra + shape[1]]
    inside[...] = rng.standard_normal(shape)
    return inside.T if transposed else inside


def check(isa: str | None, dtype: str, shape: tuple[int, int, int], seed: int) -> None:
    """One product of random layout: right, the same for every count of pieces, nothing else written."""
    rng = np.random.default_rng(seed)
    m, n, k = shape
    ta, tb, accumulate, biased = rng.integers(0, 2, 4)
    extra = int(rng.choice([0, 0, 1, 3, 16]))
    a, b = matrix(rng, m, k, ta, extra, dtype), matrix(rng, k, n, tb, extra, dtype)
    bias = matrix(rng, 1, n, False, 2, dtype)[0] if biased else None
    old = rng.standard_normal((m, n)).astype(dtype)
    results = []
    for pieces in (1, 2, 3, 4, 8):
        room = np.full((m + 2, n + 1 + extra), 7, dtype)
        c = room[1:-1, 1 : n + 1]
        c[...] = old if accumulate else np.nan
        multiply(isa, c, a, b, accumulate, bias, pieces)
        results.append(c.copy())
        c[...] = 7
        assert (room == 7).all(), (isa, dtype, shape, seed, pieces, "written outside")
    expected, size = a.astype("d") @ b.astype("d"), np.abs(a).astype("d") @ np.abs(b)
    for term in ([old] if accumulate else []) + ([bias] if biased else []):
        expected, size = expected + term, size + np.abs(term)
    error, target = np.abs(results[0] - expected), target_for(dtype, isa)
    chain = k if k <= target.deep else target.slab + 2
    assert (error <= EPSILON[dtype] * (chain + 2) * size).all(), (isa, dtype, shape, seed, ta, tb, error.max())
    for result in results[1:]:
        assert result.tobytes() == results[0].tobytes(), (isa, dtype, shape, seed, "depends on the pieces")


@pytest.mark.parametrize(("isa", "dtype"), COMPILED)
def test_random_shapes(isa: str, dtype: str) -> None:
    rng = np.random.default_rng(11)
    for seed, shape in enumerate(rng.integers(1, 71, (100, 3)).tolist()):
        check(isa, dtype, tuple(shape), seed)


@pytest.mark.parametrize(("isa", "dtype"), COMPILED)
def test_shapes_of_every_path(isa: str, dtype: str) -> None:
    for seed, shape in enumerate(SPECIAL * 3):
        check(isa, dtype, shape, 1000 + seed)


@pytest.mark.parametrize(("isa", "dtype"), COMPILED)
def test_a_long_k(isa: str, dtype: str) -> None:
    """The bound of `check` is that of one slab, however long k is."""
    for seed, shape in enumerate([(1, 1), (1, 40), (2, 33), (5, 300), (8, 8), (40, 1), (33, 3), (64, 17), (45, 70)] * 2):
        check(isa, dtype, (*shape, 8193 + 97 * seed), 4000 + seed)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_long_k_and_several_blocks(dtype: str) -> None:
    for seed, shape in enumerate([(700, 300), (20, 1500), (1, 30_000), (30_000, 1)]):
        check(None, dtype, (*shape, 8200), 5000 + seed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_have_one_sign_whatever_the_pieces(dtype: str) -> None:
    """A sum of products that are too small is -0; what is added to it, if only 0, changes that."""
    tiny = np.finfo(dtype).tiny
    for turned_a, turned_b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        a, b = np.full((60, 80) if turned_a else (80, 60), -tiny, dtype), np.full((65, 60) if turned_b else (60, 65), tiny, dtype)
        results = []
        for pieces in (1, 2, 3, 4, 8):
            c = np.full((80, 65), np.nan, dtype)
            multiply(None, c, a.T if turned_a else a, b.T if turned_b else b, 0, None, pieces)
            results.append(c.tobytes())
        assert len(set(results)) == 1, (turned_a, turned_b)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_larger_shapes(dtype: str) -> None:
    rng = np.random.default_rng(12)
    for seed, shape in enumerate(rng.integers(1, 1400, (40, 3)).tolist()):
        check(None, dtype, tuple(shape), 2000 + seed)


@pytest.mark.slow
def test_long_and_flat_shapes() -> None:
    shapes = [(4096, 1, 3000), (1, 4096, 4096), (2, 9000, 70), (5000, 9, 300), (700, 16, 9000)]
    for seed, shape in enumerate(shapes * 4):
        check(None, "float32", shape, 3000 + seed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pieces_are_the_rows_that_they_are_said_to_be(dtype: str) -> None:
    rng, seen, item = np.random.default_rng(13), 0, np.dtype(dtype).itemsize
    for m, n, k in [*rng.integers(1, 130, (150, 3)).tolist(), *SPECIAL]:
        ta, tb = rng.integers(0, 2, 2)
        a, b = matrix(rng, m, k, ta, 0, dtype), matrix(rng, k, n, tb, 0, dtype)
        most = most_pieces_by_rows(dtype, a.strides[1] // item, b.strides[1] // item, m, n, k)
        seen += most > 1
        for pieces in range(2, min(most, 5) + 1):
            for piece in range(pieces):
                c = np.full((m, n), np.nan, dtype)
                compiled(dtype, None)(
                    c.ctypes.data, n, a.ctypes.data, a.strides[0] // item, a.strides[1] // item, b.ctypes.data,
                    b.strides[0] // item, b.strides[1] // item, m, n, k, 0, 0, scratch(dtype, None).ctypes.data, piece, pieces)
                written = np.arange(m) >= m * piece // pieces
                written &= np.arange(m) < m * (piece + 1) // pieces
                assert (np.isnan(c) == ~written[:, None]).all(), (m, n, k, ta, tb, piece, pieces)
    assert seen > 50


@pytest.mark.parametrize("dtype", DTYPES)
def test_panels(dtype: str) -> None:
    """Each panel is whole tiles of its direction and writes nothing else; together they give the bits of one piece."""
    rng, seen, item = np.random.default_rng(14), set(), np.dtype(dtype).itemsize
    for m, n, k in [*rng.integers(1, 300, (60, 3)).tolist(), (600, 100, 40), (30, 700, 50), (64, 300, 512)]:
        ta, tb = rng.integers(0, 2, 2)
        a, b = matrix(rng, m, k, ta, 0, dtype), matrix(rng, k, n, tb, 0, dtype)
        kind, units = panels(dtype, *(s // item for s in (*a.strides, *b.strides)), m, n, k)
        if not kind:
            continue
        seen.add((kind, int(ta), int(tb)))
        whole = np.full((m, n), np.nan, dtype)
        multiply(None, whole, a, b)
        for pieces in (units, -(-units // 2), 3):
            if pieces > units:
                continue
            done = np.zeros((m, n), int)
            for piece in range(pieces):
                c = np.full((m, n), np.nan, dtype)
                compiled(dtype, None)(
                    c.ctypes.data, n, a.ctypes.data, a.strides[0] // item, a.strides[1] // item, b.ctypes.data,
                    b.strides[0] // item, b.strides[1] // item, m, n, k, 0, 0, scratch(dtype, None).ctypes.data, piece,
                    pieces + kind * PANELS)
                written = ~np.isnan(c)
                along = written.all(axis=2 - kind)
                assert (written == (along[:, None] if kind == BY_ROWS else along)).all()
                assert (np.diff(np.flatnonzero(along)) == 1).all()
                assert (c[written] == whole[written]).all(), (m, n, k, ta, tb, kind, piece, pieces)
                done += written
            assert (done == 1).all(), (m, n, k, kind, pieces)
    assert {kind for kind, _, _ in seen} == {BY_ROWS, BY_COLUMNS}
    assert len(seen) >= 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_to_sum(dtype: str) -> None:
    for accumulate in (0, 1):
        for bias in (None, np.arange(5, dtype=dtype)):
            c = np.full((9, 5), 2, dtype)
            multiply(None, c, np.empty((9, 0), dtype), np.empty((0, 5), dtype), accumulate, bias, 3)
            np.testing.assert_array_equal(c, np.full((9, 5), 2 * accumulate) + (0 if bias is None else bias))


def test_nothing_to_write() -> None:
    for m, n in ((0, 4), (4, 0), (0, 0)):
        for k in (0, 3):
            assert compiled("float32", None)(0, n, 0, k, 1, 0, n, 1, m, n, k, 0, 0, 0, 0, 1) == 0


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 90, 40), (1, 40, 5000), (60, 10, 40), (40, 1, 77), (40, 50, 60),
                                   (3, 5, 9000), (1, 90, 9000), (40, 10, 9000), (20, 1, 9000)])
def test_nan_and_infinity_stay_where_they_belong(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    for ta in (False, True):
        for tb in (False, True):
            rng = np.random.default_rng(3)
            a, b = matrix(rng, m, k, ta, 1, "float32"), matrix(rng, k, n, tb, 1, "float32")
            a[m // 2, k - 1] = np.nan
            b[k // 2, n - 1] = np.inf
            b[0, n // 2] = 0
            a[m - 1, 0] = -np.inf
            c = np.empty((m, n), "float32")
            multiply(None, c, a, b)
            with np.errstate(invalid="ignore"):
                expected = (a[:, :, None].astype("d") * b[None]).sum(1)
            np.testing.assert_array_equal(np.isnan(c), np.isnan(expected))
            np.testing.assert_array_equal(np.isposinf(c), np.isposinf(expected))
            np.testing.assert_array_equal(np.isneginf(c), np.isneginf(expected))


def fenced(values: Any, at_end: bool) -> tuple[Any, Any]:
    """A copy that ends, or begins, at a page that may not be touched: a stray access ends the process."""
    page = mmap.PAGESIZE
    pages = -(-values.nbytes // page) + 2
    room = mmap.mmap(-1, pages * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    offset = (pages - 1) * page - values.nbytes if at_end else page
    copy = np.frombuffer(room, values.dtype, values.size, offset).reshape(values.shape)
    copy[...] = values
    for fence in (0, pages - 1):
        assert protect(start + fence * page, page, 0) == 0
    return copy, room


@pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="pages cannot be protected on this system")
@pytest.mark.parametrize("isa", [pytest.param(i, marks=pytest.mark.slow) if i == "neon" else i for i in ISAS])
def test_nothing_outside_is_touched(isa: str) -> None:
    shapes = [(1, 1, 1), (1, 37, 19), (37, 1, 19), (3, 37, 5), (7, 10, 3), (40, 9, 33), (33, 65, 63), (14, 31, 2)]
    for m, n, k in [*shapes, (2, 9, 2), (70, 12, 9), (2, 9, 8201), (15, 5, 8201)]:
        for case in range(16):
            ta, tb, at_end, accumulate = (bool(case & bit) for bit in (1, 2, 4, 8))
            rng = np.random.default_rng(case)
            plain = [rng.standard_normal(size).astype("float32")
                     for size in ((k, m) if ta else (m, k), (n, k) if tb else (k, n), (m, n), (n,))]
            arrays = [fenced(values, at_end) for values in plain]
            a, b, c, bias = (copy for copy, _ in arrays)
            a, b = a.T if ta else a, b.T if tb else b
            multiply(isa, c, a, b, accumulate, bias)
            np.testing.assert_allclose(c, a @ b + (plain[2] if accumulate else 0) + bias, 1e-4, 1e-4)


def test_targets() -> None:
    for dtype in DTYPES:
        for isa in ("avx512", "avx2", "neon", "scalar"):
            target = target_for(dtype, isa)
            assert target.lanes * target.item in (64, 32, 16, target.item)
            assert target.narrow_rows % target.lanes == target.column_block % target.columns == 0
            assert target.row_block % target.rows == 0  # panels of A are packed several at a time where all are whole
            assert work_size(dtype, isa) <= 2 << 20
            assert target.deep_place + 2 * target.deep_bytes <= target.transposed_place  # sums and errors of a block
            assert target.deep_bytes <= target.deep_place - target.block_bytes  # the product of a slab
    assert target_for("float32", {"avx2": True, "fma": True, "avx512f": False}).isa == "avx2"
    assert target_for("float32", {}).isa == "scalar"
    with pytest.raises(ValueError, match="not int32"):
        gemm_function("int32")
    with pytest.raises(ValueError, match="unknown instruction set"):
        gemm_function("float32", "mmx")


@pytest.mark.parametrize("features", ["avx512", "avx2", "neon", "scalar"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_declare_enough_scratch(dtype, features):
    from graphexec.plugin import GEMM_SCRATCH

    assert work_size(dtype, features) <= GEMM_SCRATCH
