"""Native functions as kernels see them: `plugin.gemm(a, b, out, scratch, piece, pieces)`, `plugin.unfold`, `plugin.fold`.

Each is compiled once for each element type under the symbol ``graphexec_native_<name>_<dtype>``; a kernel that calls it
holds the call only.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import intrinsic, overload

from graphexec import plugin
from graphexec.native import patches, toolchain
from graphexec.native.gemm_driver import Driver
from graphexec.native.gemm_loops import THEN_STATUS
from graphexec.native.gemm_target import target_for
from graphexec.native.library import PREFIX
from graphexec.native.patches import Patches

SHARED = {"gemm": 17, "unfold": patches.ARGUMENTS, "fold": patches.ARGUMENTS}
"""The shared functions, each in both element types, and how many arguments they take."""

LINE, BEGINNING = 64, 1024
"""Bytes of a cache line, and of what `plugin.prefetch` fetches of a row at most."""


def compile_shared(name: str, symbol: str) -> str:
    """IR of a shared function, such as "gemm_float32", under ``symbol`` in Numba's calling convention.

    It is IR already, and goes to LLVM without Numba, which would optimise it once more.
    """
    kind, _, dtype = name.partition("_")
    module = ir.Module(name)
    module.triple = toolchain.triple()
    i64, i32 = ir.IntType(64), ir.IntType(32)
    target = target_for(dtype)
    made = Driver(module, target).gemm() if kind == "gemm" else getattr(Patches(module, target), kind)()
    arguments = [i64] * SHARED[kind]
    entry = ir.Function(module, ir.FunctionType(i32, [ir.PointerType(), ir.PointerType(), *arguments]), symbol)
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    builder.call(made, entry.args[2:])
    status = _status(builder, entry.args[-1]) if kind == "gemm" else i64(0)
    builder.store(status, builder.bitcast(entry.args[0], i64.as_pointer()))
    builder.ret(i32(0))
    return str(module)


def _status(builder: Any, after: Any) -> Any:
    """What went wrong in what followed the product: 0, or a status, which is taken out of its word."""
    i64, before = ir.IntType(64), builder.block
    with builder.if_then(builder.icmp_signed("!=", after, i64(0))):
        word = builder.inttoptr(builder.add(after, i64(8 * THEN_STATUS)), i64.as_pointer())
        noted = builder.load(word)
        with builder.if_then(builder.icmp_signed("!=", noted, i64(0))):
            builder.store(i64(0), word)
        inside = builder.block
    status = builder.phi(i64)
    status.add_incoming(i64(0), before)
    status.add_incoming(noted, inside)
    return status


@functools.cache
def _call(kind: str, dtype: str) -> Any:
    count = SHARED[kind]

    @intrinsic
    def call(typing, *arguments):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            i64, i32, pointer = ir.IntType(64), ir.IntType(32), ir.PointerType()
            signature = ir.FunctionType(i32, [pointer, pointer, *[i64] * count])
            name = f"{PREFIX}{kind}_{dtype}"
            function = builder.module.globals.get(name) or ir.Function(builder.module, signature, name)
            result = builder.alloca(i64)
            unpacked = [builder.extract_value(values[0], k) for k in range(count)]
            builder.call(function, [result, builder.alloca(pointer), *unpacked])
            return builder.load(result)

        return types.int64(types.StarArgTuple([types.int64] * count)), generate  # type: ignore[no-untyped-call]

    return call


@intrinsic
def _pointer(typing, address):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@intrinsic
def _fetch(typing, address):  # type: ignore[no-untyped-def]
    """A cache line for reading, into all caches; an address that is none is ignored."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        i32, pointer = ir.IntType(32), ir.PointerType()
        name = "llvm.prefetch.p0"
        kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(function, [builder.inttoptr(values[0], pointer), i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@functools.cache
def register() -> None:
    """Teaches Numba what `plugin.gemm`, `plugin.unfold`, `plugin.fold`, `plugin.array_at` and `plugin.prefetch` are."""
    for dtype in ("float32", "float64"):
        for kind in SHARED:
            toolchain.reserve_symbol(f"{PREFIX}{kind}_{dtype}")

    @overload(plugin.gemm)
    def gemm(a, b, out, scratch, piece, pieces, accumulate=False, after=0):  # type: ignore[no-untyped-def]
        call = _call("gemm", str(out.dtype))

        def product(a, b, out, scratch, piece, pieces, accumulate=False, after=0):  # type: ignore[no-untyped-def]
            size = out.itemsize
            return call(
                out.ctypes.data, out.strides[0] // size, a.ctypes.data, a.strides[0] // size, a.strides[1] // size,
                b.ctypes.data, b.strides[0] // size, b.strides[1] // size, out.shape[0], out.shape[1], a.shape[1],
                int(accumulate), 0, scratch, piece, pieces, after,
            )  # fmt: skip

        return product

    @overload(plugin.array_at)
    def array_at(address, size, like):  # type: ignore[no-untyped-def]
        def array(address, size, like):  # type: ignore[no-untyped-def]
            return carray(_pointer(address), size, like.dtype)  # type: ignore[call-arg]

        return array

    @overload(plugin.prefetch)
    def prefetch(rows, row):  # type: ignore[no-untyped-def]
        def fetch(rows, row):  # type: ignore[no-untyped-def]
            first = rows.ctypes.data + row * rows.strides[0]
            for offset in range(0, min(rows.shape[1] * rows.itemsize, BEGINNING), LINE):
                _fetch(first + offset)  # type: ignore[call-arg]

        return fetch

    overload(plugin.unfold)(_between("unfold"))
    overload(plugin.fold)(_between("fold"))


def _between(kind: str) -> Any:
    def function(image, patches, low, high, first, last, kernel, windows, strides, padding, dilations, lowest=0):  # type: ignore[no-untyped-def]
        call = _call(kind, str(image.dtype))

        def moved(image, patches, low, high, first, last, kernel, windows, strides, padding, dilations, lowest=0):  # type: ignore[no-untyped-def]
            return call(
                image.ctypes.data, patches.ctypes.data, low, high, first, last, image.shape[1], image.shape[2], image.shape[3],
                kernel[0], kernel[1], kernel[2], windows[0], windows[1], windows[2], strides[0], strides[1], strides[2],
                padding[0], padding[1], padding[2], dilations[0], dilations[1], dilations[2], lowest,
            )  # fmt: skip

        return moved

    return function
