"""straight_line: reads the work on one element as a list of instructions, after LLVM has inlined and merged what it can.

The element is a function without branches or memory, like the scalar functions themselves (`graphexec.math` has no branches). Its
instructions can therefore be placed in other loops, as `distributed_loops` does, and remain the code that LLVM optimised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from graphexec.abi import RARE_PREFIX
from graphexec.codegen.loop_distribution import NAME, LLVMInstruction, StraightLineBody
from graphexec.llvm import toolchain

_PURE = frozenset(
    "fadd fsub fmul fdiv frem fneg fcmp icmp select bitcast add sub mul sdiv udiv srem urem shl lshr ashr and or xor zext sext"
    " trunc fptrunc fpext sitofp uitofp fptosi fptoui freeze call".split()
)
_STORE = re.compile(r"store (\w+) (\S+), ptr %(\w+)")
_CALLEE = re.compile(r"@([\w.$]+)\(")


def straighten(modules: Sequence[str], entry: str) -> StraightLineBody | None:
    """The instructions of function ``entry``; None unless it has one block, writes each pointer once, and returns 0."""
    with toolchain.LOCK:
        module = toolchain.optimized(modules, entry)
        return _read(module, module.get_function(entry))


def _read(module: Any, function: Any) -> StraightLineBody | None:
    blocks = list(function.blocks)
    if len(blocks) != 1:
        return None
    instructions: list[LLVMInstruction] = []
    stores: dict[str, tuple[str, str]] = {}
    callees: set[str] = set()
    names: dict[str, str] = {}
    for found in blocks[0].instructions:
        line = re.sub(r"(, ![\w.]+ ![\w.]+)+$| #\d+", "", str(found).strip())
        if found.opcode == "ret":
            return _made(module, instructions, stores, callees) if line == "ret i32 0" else None
        if found.opcode == "store":
            stored = _STORE.match(line)
            if stored is None:
                return None
            stores[stored[3]] = (stored[1], names.get(stored[2], stored[2]))
            continue
        if found.opcode not in _PURE:
            return None
        left, _, right = line.partition(" = ")
        if found.opcode == "call":
            callee = _CALLEE.search(right)
            if callee is None or not callee[1].startswith(("llvm.", RARE_PREFIX)):
                return None
            callees.add(callee[1])
            right = re.sub(r"^(tail |notail |musttail )", "", right)
        names[left] = f"%e{len(instructions)}"
        right = NAME.sub(lambda m: names.get(m[0], m[0]), right)
        instructions.append(LLVMInstruction(names[left], str(found.type), tuple(dict.fromkeys(NAME.findall(right))), right))
    return None


def _made(
    module: Any, instructions: list[LLVMInstruction], stores: dict[str, tuple[str, str]], callees: set[str]
) -> StraightLineBody:
    declarations = [_declaration(module.get_function(c)) for c in sorted(callees)]
    return StraightLineBody(tuple(instructions), stores, tuple(declarations))


def _declaration(function: Any) -> str:
    kind = function.global_value_type
    returns, _, rest = str(kind).partition(" (")
    return f"declare {returns} @{function.name}({rest}"
