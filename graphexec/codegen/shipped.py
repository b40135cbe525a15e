"""shipped: the functions of built-in array kernels as Numba compiles them, stored in the package, so that Numba is not imported.

The archive holds LLVM IR that no pass has fitted to a processor. A function is taken from it only if its source, all that this
reaches, its types and attributes, Numba, llvmlite and our own front end are those that it was made with; otherwise Numba compiles
it, as it does a plugin's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from graphexec.ir.kernel_op import KernelOp
from graphexec.llvm import fingerprint, toolchain
from graphexec.llvm.shipped import Archive

ARCHIVE = Archive(Path(__file__).with_name("shipped_functions.zip"), fingerprint.frontend)


def key_of(op: KernelOp, parts: tuple[Any, ...]) -> str | None:
    """The name of a function in the archive: op, hash of its source, hash of ``parts``, its types and attributes.

    None for an op without source text.
    """
    try:
        source = fingerprint.of_source(op.function)
    except OSError:
        return None
    return toolchain.symbol_name(f"{op.name}-{source[:32]}", repr(parts))


def find(op: KernelOp, parts: tuple[Any, ...], symbol: str) -> tuple[toolchain.Portable, tuple[str, ...]] | None:
    """The IR of an op's function under ``symbol`` and the types of its results; None if the archive does not have it."""
    key = key_of(op, parts) if ARCHIVE.members is not None else None
    found = None if key is None else ARCHIVE.read(key, symbol)
    if found is None:
        return None
    head, _, text = found.partition("\n")
    return toolchain.Portable(text, symbol), tuple(json.loads(head))
