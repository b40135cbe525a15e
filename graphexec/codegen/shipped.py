"""shipped: the functions of built-in array kernels as Numba compiles them, stored in the package, so that Numba is not imported.

`shipped_functions.zip` holds LLVM IR that no pass has fitted to a processor. A function is taken from it only if its source, all
that this reaches, its types and attributes, Numba, llvmlite and our own front end are those that it was made with; otherwise Numba
compiles it, as it does a plugin's. `python tests/shipped_functions.py` writes the file.
"""

from __future__ import annotations

import functools
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from graphexec.codegen.scalar_compiler import Compiled
from graphexec.ir.kernel_op import KernelOp
from graphexec.llvm import fingerprint, toolchain

PATH = Path(__file__).with_name("shipped_functions.zip")
PLACEHOLDER = "graphexec_shipped_function"
"""The name of a function in the file, in place of its symbol."""


def key_of(op: KernelOp, parts: tuple[Any, ...]) -> str | None:
    """The name of a function in the file: op, hash of its source, hash of ``parts``, its types and attributes.

    None for an op without source text.
    """
    try:
        source = fingerprint.of_source(op.function)
    except OSError:
        return None
    return toolchain.symbol_name(f"{op.name}-{source[:32]}", repr(parts))


def find(op: KernelOp, parts: tuple[Any, ...], symbol: str) -> Compiled | None:
    """The IR of an op's function under ``symbol``; None if the file does not have it, or not for these versions."""
    members = archive()
    key = key_of(op, parts) if members is not None else None
    if members is None or key not in members.NameToInfo:
        return None
    try:
        head, _, text = members.read(key).decode().partition("\n")
        return Compiled(text.replace(PLACEHOLDER, symbol), tuple(json.loads(head)))
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error):
        return None


@functools.cache
def archive() -> zipfile.ZipFile | None:
    """The file; None if it is missing, damaged, or made with other versions."""
    try:
        found = zipfile.ZipFile(PATH)
    except (OSError, zipfile.BadZipFile):
        return None
    if found.comment.decode(errors="replace") == fingerprint.frontend():
        return found
    found.close()
    return None
