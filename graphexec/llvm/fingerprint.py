"""fingerprint: hashes of everything a kernel depends on; a change in any function that it calls changes the hash.

Numba's own cache checks the modification time of one file, so a kernel that calls a helper in another module would keep running the
old helper. Here the code of every reachable function is part of the key.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import platform
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from graphexec.llvm import toolchain

_DEF = re.compile(r"^[ \t]*def ", re.MULTILINE)
_FOREIGN = ("numba", "numpy", "llvmlite", "math", "builtins", "operator")


SOURCES = (
    "errors.py", "system_errors.py", "file_lock.py", "atomic_file.py", "abi.py", "math.py", "ir", "llvm", "gemm", "vecmath",
    "codegen", "runtime", "profile/peak_flops.py",
)  # fmt: skip
"""Files and packages of the engine that can change native code: the modules that hand IR to LLVM, and all that they import."""


def sources(names: Sequence[str] = SOURCES) -> list[Path]:
    """The files of :data:`SOURCES`, or of other such names, in a fixed order."""
    package = Path(__file__).parents[1]
    found: list[Path] = []
    for name in names:
        files = [package / name] if name.endswith(".py") else sorted((package / name).rglob("*.py"))
        assert files, f"no source in graphexec/{name}"
        found += files
    return found


FRONTEND_SOURCES = (
    "math.py", "ir/intrinsics.py", "codegen/specialize.py", "codegen/numba_frontend.py", "llvm/numba_internals.py",
    "gemm/numba_intrinsics.py", "gemm/shared.py", "vecmath",
)  # fmt: skip
"""Files and packages of the engine that can change what Numba makes of a function."""


@functools.cache
def frontend() -> str:
    """What Numba's IR of a function depends on beside the function: versions, the platform, and our own sources."""
    digest = hashlib.sha256()
    for path in sources(FRONTEND_SOURCES):
        digest.update(path.read_bytes())
    checked = os.environ.get("NUMBA_BOUNDSCHECK", "")
    return " ".join([version("numba"), version("llvmlite"), platform.machine(), sys.platform, digest.hexdigest(), checked])


@functools.cache
def product() -> str:
    """What the IR of the shared functions depends on beside their targets: the text that llvmlite writes, and our own sources."""
    digest = hashlib.sha256()
    for path in sources(("gemm",)):
        digest.update(path.read_bytes())
    return " ".join([version("llvmlite"), platform.machine(), sys.platform, digest.hexdigest()])


@functools.cache
def environment() -> str:
    """Versions, the processor, and a hash of the engine's own sources."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(path.read_bytes())
    name, features = toolchain.host()
    checked = os.environ.get("NUMBA_BOUNDSCHECK", "")
    return " ".join([sys.version.split()[0], version("numba"), version("llvmlite"), name, features, digest.hexdigest(), checked])


def of_function(function: Callable[..., Any]) -> str:
    """Hash of a function's code and of everything it reaches through globals and closures."""
    return _hash(_describe(function, set(), lambda f: _describe_code(f.__code__)))


def of_source(function: Callable[..., Any]) -> str:
    """As `of_function`, but of source text, which is the same in every version of Python. *Raises* OSError if there is none."""

    def source(reached: Callable[..., Any]) -> Iterator[str]:
        text = inspect.getsource(reached)
        start = _DEF.search(text) if reached is function else None  # its decorator declares an op; a helper's may change its code
        yield text[start.start() :] if start else text

    return _hash(chain(source(function), _describe(function, set(), source)))  # also if it is the engine's: see `frontend`


def _hash(lines: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _describe(value: Any, seen: set[int], code_of: Callable[[Any], Iterator[str]]) -> Iterator[str]:
    value = getattr(value, "py_func", value)
    code = getattr(value, "__code__", None)
    if code is None:
        yield from _describe_constant(value)
        return
    module = getattr(value, "__module__", "") or ""
    if module.partition(".")[0] == "graphexec" or id(code) in seen:
        yield f"function {module}.{value.__qualname__}"  # the engine's own sources are part of the environment
        return
    seen.add(id(code))
    yield from code_of(value)
    yield repr((value.__defaults__, value.__kwdefaults__))
    for cell in value.__closure__ or ():
        yield from _describe(cell.cell_contents, seen, code_of)
    yield from _describe_globals(code, value.__globals__, seen, code_of)


def _describe_code(code: types.CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_argcount} {code.co_kwonlyargcount}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _describe_code(constant)
        else:
            yield f"{type(constant).__name__} {constant!r}"


def _describe_globals(
    code: types.CodeType, namespace: dict[str, Any], seen: set[int], code_of: Callable[[Any], Iterator[str]]
) -> Iterator[str]:
    names = sorted(set(_names(code)))
    for name in names:
        if name not in namespace:
            continue
        value = namespace[name]
        if isinstance(value, types.ModuleType):
            yield f"module {value.__name__}"
            if value.__name__.partition(".")[0] not in (*_FOREIGN, "graphexec"):
                for member in names:
                    if hasattr(value, member):
                        yield from _describe(getattr(value, member), seen, code_of)
        else:
            yield name
            yield from _describe(value, seen, code_of)


def _names(code: types.CodeType) -> list[str]:
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _names(constant)
    return names


def _describe_constant(value: Any) -> Iterator[str]:
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        yield f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    elif isinstance(value, (int, float, complex, str, bytes, bool, tuple, type(None))):
        yield f"{type(value).__name__} {value!r}"
    else:
        yield f"{type(value).__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
