"""object_code: native code that the package brings for the usual processors, so that a first start need not compile it again.

It holds kernels of single ops, the matrix product and the functions that run programs, for x86-64 with AVX2 (level v3) and with
AVX-512 (level v4). Code is found by a hash of the IR that it was compiled from, so it cannot be stale; an archive that another
version of LLVM or other options made is ignored. `python tests/shipped_code.py` writes the archives.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from graphexec.llvm import toolchain
from graphexec.llvm.shipped import Archive

_V3 = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
LEVELS = {
    "x86-64-v4": (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    "x86-64-v3": _V3,
}  # fmt: skip
"""LLVM's names of the levels of x86-64 that archives exist for, best first, and the features that a processor needs for each."""

_HASHED = re.compile(r"_([0-9a-f]{32})\b")


@functools.cache
def made_with() -> str:
    """What object code depends on beside its IR: LLVM and the way we call it."""
    options = hashlib.sha256(Path(toolchain.__file__).read_bytes()).hexdigest()
    return " ".join([version("llvmlite"), platform.machine(), sys.platform, options])


ARCHIVES = {level: Archive(Path(__file__).with_name(f"{level.replace('-', '_')}.zip"), made_with) for level in LEVELS}


@functools.cache
def level() -> str | None:
    """The best level of this processor; None for a processor without an archive."""
    features = {name[1:] for name in toolchain.host()[1].split(",") if name.startswith("+")}
    return next((name for name, needed in LEVELS.items() if features.issuperset(needed)), None)


def canonical(modules: Sequence[str], entry: str) -> list[str]:
    """IR modules whose symbols end with numbers in place of hashes: 0 for the entry, then in the order in which they appear."""
    numbers = {entry[-32:]: 0}

    def numbered(text: str) -> str:
        return _HASHED.sub(lambda m: f"_{numbers.setdefault(m[1], len(numbers)):032x}", text)

    return [
        toolchain.Portable(numbered(text), numbered(text.entry)) if isinstance(text, toolchain.Portable) else numbered(text)
        for text in modules
    ]


def key_of(modules: Sequence[str], entry: str, *, written: bool) -> str:
    """The name of the code of IR modules, whatever hashes their symbols end with."""
    kinds = "".join("p" if isinstance(text, toolchain.Portable) else "m" for text in modules)
    return toolchain.symbol_name(entry[:-33], f"{kinds} {written}", *canonical(modules, entry))


def find(key: str, entry: str) -> bytes | None:
    """Packed object code whose only visible symbol is ``entry``; None if the package does not bring it for this processor."""
    name = level()
    found = None if name is None else ARCHIVES[name].read_bytes(key)
    return None if found is None else found.replace(placeholder(entry).encode(), entry.encode())


def placeholder(entry: str) -> str:
    """The name of an entry in an archive: as long as the name itself, which may then be replaced in object code."""
    return entry[:-32] + "0" * 32
