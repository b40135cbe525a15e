"""linker: builds, caches and loads kernels together with the native functions that they share.

The shared functions are the matrix product and im2col of each element type, the rare paths of sin, cos and tan, and parts of
Numba's runtime. A kernel's object code refers to them by symbol; `require` compiles or loads them before the kernel is linked.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from graphexec.abi import RARE_PREFIX, SHARED_PREFIX
from graphexec.llvm import cache, fingerprint, object_code, toolchain
from graphexec.llvm import numba_runtime as runtime
from graphexec.llvm.interrupt import held_back

_NAMES = re.compile(rf"@({SHARED_PREFIX}\w+|{'|'.join(runtime.SYMBOLS)})\b")
_RARE = re.compile(rf"{RARE_PREFIX}\w+".encode())
_NUMBA = re.compile(rb"\b(?:NRT_|numba_|Py)\w+")
_INSIDE = {"NRT_incref", "NRT_decref"}  # defined in every module that calls them
loaded: dict[str, int] = {}


@dataclass
class Work:
    """How many kernels and shared functions this process found in the cache, found in the package, and compiled, and how long."""

    cached: int = 0
    shipped: int = 0
    compiled: int = 0
    seconds: float = 0.0


work = Work()

Make = Callable[[], tuple[list[str], str]]
"""Gives IR modules and the name of their entry."""


def needs(modules: Iterable[str]) -> list[str]:
    """The shared functions that IR calls, except rare paths, which vectors in IR do not show yet."""
    return sorted({name for text in modules for name in _NAMES.findall(text)})


def pack(code: bytes, needed: list[str]) -> bytes:
    """Object code after a line of JSON: the shared functions it needs, and whether it needs Numba's own runtime as well."""
    rare = {name.decode() for name in _RARE.findall(code)}
    foreign = {name.decode() for name in _NUMBA.findall(code)} - _INSIDE - set(runtime.SYMBOLS)
    return json.dumps({"needs": sorted({*needed, *rare}), "runtime": bool(foreign)}).encode() + b"\n" + code


def link(payload: bytes, entry: str) -> int:
    """Loads packed object code after the functions it needs; gives the address of its entry."""
    head, _, code = payload.partition(b"\n")
    facts = json.loads(head)
    for name in facts["needs"]:
        require(name)
    if facts["runtime"]:
        _numba_runtime()
    return toolchain.load(code, entry)


def obtain(name: str, make: Make, *, written: bool = False, key: Callable[[], str] | None = None) -> int:
    """The address of a kernel, loaded from the cache or built from what ``make`` gives: IR modules and their entry, ``name``.

    For ``written`` see `toolchain.optimized`. ``key`` gives the name of the code in the package's archive, if that is known without
    its IR.
    """
    with held_back(), toolchain.LOCK:
        begin = time.perf_counter()
        payload = cache.read(name + ".o")
        if payload is not None:
            work.cached += 1
        else:
            payload = object_code.find(key(), name) if key else None
            work.shipped += payload is not None
            payload = payload or _made(make, written, brought=not key)
            cache.write(name + ".o", payload)
        work.seconds += time.perf_counter() - begin
        return link(payload, name)


def _made(make: Make, written: bool, brought: bool) -> bytes:
    """Packed object code of a kernel: from the package's archive if it may be ``brought`` with it, otherwise compiled."""
    modules, entry = make()
    found = object_code.find(object_code.key_of(modules, entry, written=written), entry) if brought else None
    work.shipped += found is not None
    work.compiled += found is None
    return found or pack(toolchain.build(modules, entry, written=written), needs(modules))


def require(name: str) -> None:
    """Loads a shared function, so that code linked later can call it."""
    with toolchain.LOCK:
        if name in loaded or (name in runtime.SYMBOLS and toolchain.is_known(name)):
            return
        short = name.removeprefix(SHARED_PREFIX).removeprefix(RARE_PREFIX)
        unique = toolchain.symbol_name(f"shared_{short}", fingerprint.environment())
        written = name.startswith(f"{SHARED_PREFIX}gemm_")
        key = functools.partial(_key, name) if name.startswith(SHARED_PREFIX) else None
        loaded[name] = obtain(unique, lambda: (_compile(name, unique), unique), written=written, key=key)
        toolchain.add_symbol(name, loaded[name])


def _compile(name: str, unique: str) -> list[str]:
    if name in runtime.SYMBOLS:
        return [runtime.source(name, unique)]
    if name.startswith(RARE_PREFIX):
        from graphexec.codegen.rare_paths import rare_path  # imports llvmlite

        return [rare_path(name, unique)]
    from graphexec.gemm.shared import compile_shared  # takes a tenth of a second to import

    return [compile_shared(name.removeprefix(SHARED_PREFIX), unique)]


def _key(name: str) -> str:
    from graphexec.gemm.shared import key_of

    return key_of(name.removeprefix(SHARED_PREFIX))


def _numba_runtime() -> None:
    """Starts Numba's runtime, which kernels that allocate call."""
    from graphexec.llvm import numba_internals

    numba_internals.start_runtime()
