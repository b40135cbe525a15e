"""The arithmetic peak of a core, measured with a loop of fused multiply-adds in registers."""

from __future__ import annotations

import ctypes
import time
from functools import cache
from typing import Any

from llvmlite import ir

from graphexec.codegen import linker
from graphexec.gemm.emitter import I64, Emitter, counted
from graphexec.gemm.target import target_for
from graphexec.llvm import fingerprint, toolchain

CHAINS = 12
"""Independent sums: enough to hide the latency of two units, and few enough for 16 registers."""


@cache
def fma_loop(dtype: str) -> tuple[Any, int]:
    """A native function of a number of steps, and the operations per step: 2 for each lane of each chain."""
    target = target_for(dtype)
    name = toolchain.symbol_name(f"peak_{dtype}", fingerprint.environment(), str(CHAINS))
    address = linker.obtain(name, lambda: ([_source(name, dtype)], name))
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address), 2 * CHAINS * target.lanes


def _source(name: str, dtype: str) -> str:
    module = ir.Module(name)
    module.triple = toolchain.triple()
    emitter = Emitter(module, target_for(dtype))
    function = ir.Function(module, ir.FunctionType(I64, [I64]), name)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    x = emitter.splat(builder, builder.sitofp(function.args[0], emitter.element))
    with counted(builder, function.args[0]) as loop:
        sums = [loop.phi(emitter.zeros) for _ in range(CHAINS)]
        new = [emitter.fma(builder, old, x, x) for old in sums]
        for old, value in zip(sums, new, strict=True):
            loop.next(old, value)
    total = new[0]
    for value in new[1:]:
        total = builder.fadd(total, value)
    builder.ret(builder.fptosi(builder.extract_element(total, I64(0)), I64))
    return str(module)


def peak(dtype: str) -> float:
    """Floating-point operations per second of one core: the best of several short runs."""
    loop, operations = fma_loop(dtype)
    steps, best = 20_000, float("inf")
    for _ in range(30):
        begin = time.perf_counter()
        loop(steps)
        best = min(best, time.perf_counter() - begin)
    return operations * steps / best
