"""The matrix product as kernels see it: `plugin.gemm(a, b, out, scratch, piece, pieces)`.

It is compiled once for each element type under the symbol ``graphexec_native_gemm_<dtype>``; a kernel that calls it
holds the call only.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic, overload

from graphexec import plugin
from graphexec.native import toolchain
from graphexec.native.gemm_driver import Driver
from graphexec.native.gemm_target import target_for
from graphexec.native.library import PREFIX

_ARGUMENTS = 16


def compile_shared(name: str, symbol: str) -> str:
    """IR of a shared function, "gemm_float32" or "gemm_float64", under ``symbol`` in Numba's calling convention.

    The product is IR already, and goes to LLVM without Numba, which would optimise it once more.
    """
    module = ir.Module(name)
    module.triple = toolchain.triple()
    i64, i32 = ir.IntType(64), ir.IntType(32)
    gemm = Driver(module, target_for(name.removeprefix("gemm_"))).gemm()
    entry = ir.Function(module, ir.FunctionType(i32, [ir.PointerType(), ir.PointerType(), *[i64] * _ARGUMENTS]), symbol)
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    builder.call(gemm, entry.args[2:])
    builder.store(i64(0), builder.bitcast(entry.args[0], i64.as_pointer()))
    builder.ret(i32(0))
    return str(module)


@functools.cache
def _call(dtype: str) -> Any:
    @intrinsic
    def call(typing, *arguments):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            i64, i32, pointer = ir.IntType(64), ir.IntType(32), ir.PointerType()
            kind = ir.FunctionType(i32, [pointer, pointer, *[i64] * _ARGUMENTS])
            name = f"{PREFIX}gemm_{dtype}"
            function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            result = builder.alloca(i64)
            unpacked = [builder.extract_value(values[0], k) for k in range(_ARGUMENTS)]
            builder.call(function, [result, builder.alloca(pointer), *unpacked])
            return builder.load(result)

        return types.int64(types.StarArgTuple([types.int64] * _ARGUMENTS)), generate  # type: ignore[no-untyped-call]

    return call


@intrinsic
def _pointer(typing, address):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@functools.cache
def register() -> None:
    """Teaches Numba what `plugin.gemm` and `plugin.array_at` are."""
    for dtype in ("float32", "float64"):
        toolchain.reserve_symbol(f"{PREFIX}gemm_{dtype}")

    @overload(plugin.gemm)
    def gemm(a, b, out, scratch, piece, pieces, accumulate=False):  # type: ignore[no-untyped-def]
        call = _call(str(out.dtype))

        def product(a, b, out, scratch, piece, pieces, accumulate=False):  # type: ignore[no-untyped-def]
            size = out.itemsize
            return call(
                out.ctypes.data, out.strides[0] // size, a.ctypes.data, a.strides[0] // size, a.strides[1] // size,
                b.ctypes.data, b.strides[0] // size, b.strides[1] // size, out.shape[0], out.shape[1], a.shape[1],
                int(accumulate), 0, scratch, piece, pieces,
            )  # fmt: skip

        return product

    @overload(plugin.array_at)
    def array_at(address, size, like):  # type: ignore[no-untyped-def]
        def array(address, size, like):  # type: ignore[no-untyped-def]
            return carray(_pointer(address), size, like.dtype)  # type: ignore[call-arg]

        return array
