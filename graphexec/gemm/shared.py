"""The functions that kernels share, the matrix product and im2col of each element type, as LLVM IR; no Numba is needed."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from graphexec.gemm.driver import Driver
from graphexec.gemm.im2col import ARGUMENTS, Patches
from graphexec.gemm.loops import THEN_STATUS
from graphexec.gemm.target import target_for
from graphexec.llvm import toolchain

PREFIX = "graphexec_native_"
"""How the symbol of a shared function begins: ``graphexec_native_<name>_<dtype>``."""

SHARED = {"gemm": 17, "im2col": ARGUMENTS, "col2im": ARGUMENTS}
"""The shared functions, each in both element types, and how many arguments they take."""


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
