"""numba_intrinsics: Numba's side of the shared functions `plugin.gemm`, `plugin.im2col` and `plugin.col2im`.

Each is compiled once for each element type under the symbol ``graphexec_native_<name>_<dtype>``; a kernel contains only the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import intrinsic, lower_builtin, overload, type_callable

from graphexec.abi import SHARED_PREFIX
from graphexec.gemm.shared import SHARED
from graphexec.ir import intrinsics
from graphexec.llvm import numba_internals as inner
from graphexec.llvm import toolchain

LINE, BEGINNING = 64, 1024
"""Bytes of a cache line; the most bytes of a row that `plugin.prefetch` fetches."""


def _call(builder: Any, kind: str, dtype: str, values: Sequence[Any]) -> Any:
    """Calls a shared function with int64 arguments; gives what it returns."""
    i64, i32, pointer = ir.IntType(64), ir.IntType(32), ir.PointerType()
    signature = ir.FunctionType(i32, [pointer, pointer, *[i64] * SHARED[kind]])
    name = f"{SHARED_PREFIX}{kind}_{dtype}"
    function = builder.module.globals.get(name) or ir.Function(builder.module, signature, name)
    result = inner.alloca_once(builder, i64)  # type: ignore[no-untyped-call]
    exception = inner.alloca_once(builder, pointer)  # type: ignore[no-untyped-call]
    builder.call(function, [result, exception, *values])
    return builder.load(result)


@toolchain.once
def _calling(kind: str, dtype: str) -> Any:
    count = SHARED[kind]

    @intrinsic
    def call(typing, *arguments):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return _call(builder, kind, dtype, [builder.extract_value(values[0], k) for k in range(count)])

        return types.int64(types.StarArgTuple([types.int64] * count)), generate  # type: ignore[no-untyped-call]

    return call


@intrinsic
def _pointer(typing, address):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@intrinsic
def _fetch(typing, address):  # type: ignore[no-untyped-def]
    """Prefetches a cache line for reading into all caches; an invalid address is ignored."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        i32, pointer = ir.IntType(32), ir.PointerType()
        name = "llvm.prefetch.p0"
        kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(function, [builder.inttoptr(values[0], pointer), i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@toolchain.once
def register() -> None:
    """Registers `plugin.gemm`, `plugin.im2col`, `plugin.col2im`, `plugin.array_at` and `plugin.prefetch` with Numba."""
    for dtype in ("float32", "float64"):
        for kind in SHARED:
            toolchain.reserve_symbol(f"{SHARED_PREFIX}{kind}_{dtype}")

    _register_gemm()

    @overload(intrinsics.array_at)
    def array_at(address, size, like):  # type: ignore[no-untyped-def]
        def array(address, size, like):  # type: ignore[no-untyped-def]
            return carray(_pointer(address), size, like.dtype)  # type: ignore[call-arg]

        return array

    @overload(intrinsics.prefetch)
    def prefetch(rows, row):  # type: ignore[no-untyped-def]
        def fetch(rows, row):  # type: ignore[no-untyped-def]
            first = rows.ctypes.data + row * rows.strides[0]
            for offset in range(0, min(rows.shape[1] * rows.itemsize, BEGINNING), LINE):
                _fetch(first + offset)  # type: ignore[call-arg]

        return fetch

    overload(intrinsics.im2col)(_between("im2col"))
    overload(intrinsics.col2im)(_between("col2im"))


def _register_gemm() -> None:
    """Lowers `plugin.gemm` to one call of the shared function, with arguments taken from the arrays' records.

    It is written to IR because Numba would type and compile a Python function again for each kernel.
    """

    @type_callable(intrinsics.gemm)
    def type_gemm(context):  # type: ignore[no-untyped-def]
        def typer(a, b, out, scratch, piece, pieces, accumulate=None, after=None):  # type: ignore[no-untyped-def]
            arrays = all(isinstance(x, types.Array) and x.ndim == 2 and x.dtype == out.dtype for x in (a, b, out))
            return types.int64 if arrays and str(out.dtype) in ("float32", "float64") else None

        return typer

    @lower_builtin(intrinsics.gemm, types.Array, types.Array, types.Array, types.VarArg(types.Any))  # type: ignore[no-untyped-call]
    def lower_gemm(context, builder, signature, values):  # type: ignore[no-untyped-def]
        i64, dtype = ir.IntType(64), signature.args[2].dtype
        item = context.get_abi_sizeof(context.get_data_type(dtype))
        a, b, out = (inner.array_struct(t)(context, builder, v) for t, v in zip(signature.args[:3], values[:3], strict=True))  # type: ignore[no-untyped-call]

        def steps(array: Any) -> list[Any]:
            return [builder.sdiv(s, i64(item)) for s in inner.unpack_tuple(builder, array.strides, 2)]  # type: ignore[no-untyped-call]

        def size(array: Any, axis: int) -> Any:
            return builder.extract_value(array.shape, axis)

        numbers = [context.cast(builder, v, t, types.int64) for v, t in zip(values[3:], signature.args[3:], strict=True)]
        scratch, piece, pieces, accumulate, after = [*numbers, *[i64(0)] * (5 - len(numbers))]
        data = [builder.ptrtoint(x.data, i64) for x in (out, a, b)]
        return _call(builder, "gemm", str(dtype), [
            data[0], steps(out)[0], data[1], *steps(a), data[2], *steps(b), size(out, 0), size(out, 1), size(a, 1),
            accumulate, i64(0), scratch, piece, pieces, after,
        ])  # fmt: skip


def _between(kind: str) -> Any:
    def function(image, patches, low, high, first, last, kernel, windows, strides, padding, dilations, lowest=0):  # type: ignore[no-untyped-def]
        call = _calling(kind, str(image.dtype))

        def moved(image, patches, low, high, first, last, kernel, windows, strides, padding, dilations, lowest=0):  # type: ignore[no-untyped-def]
            return call(
                image.ctypes.data, patches.ctypes.data, low, high, first, last, image.shape[1], image.shape[2], image.shape[3],
                kernel[0], kernel[1], kernel[2], windows[0], windows[1], windows[2], strides[0], strides[1], strides[2],
                padding[0], padding[1], padding[2], dilations[0], dilations[1], dilations[2], lowest,
            )  # fmt: skip

        return moved

    return function
