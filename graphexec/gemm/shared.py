"""shared: the functions that kernels share, the matrix product and im2col of each element type, compiled without Numba."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from graphexec.gemm.driver import Driver
from graphexec.gemm.im2col import ARGUMENTS, Patches
from graphexec.gemm.loops import EPILOGUE_STATUS
from graphexec.gemm.target import Target, target_for
from graphexec.llvm import fingerprint, toolchain

SHARED = {"gemm": 17, "im2col": ARGUMENTS, "col2im": ARGUMENTS}
"""The shared functions, each for both element types, with their number of arguments."""



def compile_shared(name: str, symbol: str) -> str:
    """IR of a shared function, such as "gemm_float32", under ``symbol`` in Numba's calling convention.

    The IR goes to LLVM without Numba, which would optimise it once more.
    """
    kind, _, dtype = name.partition("_")
    return write_shared(kind, target_for(dtype), symbol)


def key_of(name: str, isa: str | None = None) -> str:
    """The name of a shared function's code in the package's archive, for this host or another instruction set.

    It hashes all that the IR depends on, which takes half a second to write.
    """
    return toolchain.symbol_name(name, fingerprint.product(), target_for(name.rpartition("_")[2], isa).tag)


def write_shared(kind: str, target: Target, symbol: str) -> str:
    """Writes the IR of a shared function."""
    module = ir.Module(kind)
    module.triple = toolchain.triple()
    i64, i32 = ir.IntType(64), ir.IntType(32)
    made = Driver(module, target).gemm() if kind == "gemm" else getattr(Patches(module, target), kind)()
    arguments = [i64] * SHARED[kind]
    entry = ir.Function(module, ir.FunctionType(i32, [ir.PointerType(), ir.PointerType(), *arguments]), symbol)
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    builder.call(made, entry.args[2:])
    status = _status(builder, entry.args[-1]) if kind == "gemm" else i64(0)
    builder.store(status, builder.bitcast(entry.args[0], i64.as_pointer()))
    builder.ret(i32(0))
    return str(module)


def _status(builder: Any, epilogue: Any) -> Any:
    """The status of the epilogue, 0 for success; its word is reset."""
    i64, before = ir.IntType(64), builder.block
    with builder.if_then(builder.icmp_signed("!=", epilogue, i64(0))):
        word = builder.inttoptr(builder.add(epilogue, i64(8 * EPILOGUE_STATUS)), i64.as_pointer())
        noted = builder.load(word)
        with builder.if_then(builder.icmp_signed("!=", noted, i64(0))):
            builder.store(i64(0), word)
        inside = builder.block
    status = builder.phi(i64)
    status.add_incoming(i64(0), before)
    status.add_incoming(noted, inside)
    return status
