"""straighten: what a loop does to one element as a list of instructions, after LLVM has inlined and merged all it can.

The element is a function without branches or memory, as scalar functions are (`graphexec.math` has no branches). So its
instructions can be laid out anew, as `stages` does, and still be what LLVM made of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from graphexec.codegen.loop_distribution import NAME, Instruction, Straight
from graphexec.llvm import toolchain

_PURE = frozenset(
    "fadd fsub fmul fdiv frem fneg fcmp icmp select bitcast add sub mul sdiv udiv srem urem shl lshr ashr and or xor zext sext"
    " trunc fptrunc fpext sitofp uitofp fptosi fptoui freeze call".split()
)
_STORE = re.compile(r"store (\w+) (\S+), ptr %(\w+)")
_CALLEE = re.compile(r"@([\w.$]+)\(")


def straighten(modules: Sequence[str], entry: str) -> Straight | None:
    """The function ``entry``, whose pointers are written once each and which returns 0; None where it is not so simple."""
    module = toolchain.optimized(modules, entry)
    return _read(module, module.get_function(entry))


def _read(module: Any, function: Any) -> Straight | None:
    blocks = list(function.blocks)
    if len(blocks) != 1:
        return None
    instructions: list[Instruction] = []
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
            if callee is None or not callee[1].startswith(("llvm.", "graphexec_shared_")):
                return None
            callees.add(callee[1])
            right = re.sub(r"^(tail |notail |musttail )", "", right)
        names[left] = f"%e{len(instructions)}"
        right = NAME.sub(lambda m: names.get(m[0], m[0]), right)
        instructions.append(Instruction(names[left], str(found.type), tuple(dict.fromkeys(NAME.findall(right))), right))
    return None


def _made(module: Any, instructions: list[Instruction], stores: dict[str, tuple[str, str]], callees: set[str]) -> Straight:
    declarations = [_declaration(module.get_function(c)) for c in sorted(callees)]
    return Straight(tuple(instructions), stores, tuple(declarations))


def _declaration(function: Any) -> str:
    kind = function.global_value_type
    returns, _, rest = str(kind).partition(" (")
    return f"declare {returns} @{function.name}({rest}"
