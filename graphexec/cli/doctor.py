"""Implements the command doctor: what an installation consists of, what it uses, and what is wrong with it.

Whatever is wrong becomes a row. A *fault* stops work; a *warning* makes it slower, or takes something away.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphexec import file_lock
from graphexec.cli import format as out
from graphexec.cli.session import Result, Settings
from graphexec.errors import GraphExecError
from graphexec.system_errors import cause_of

OK, WARNING, FAULT = "ok", "warning", "fault"

REQUIRED = ("numpy", "llvmlite", "numba", "networkx", "click", "pyyaml", "safetensors", "tabulate", "tqdm")

FEATURES = ("sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "neon", "sve")
"""Features of processors that make a difference, as LLVM calls them."""


class Row(NamedTuple):
    """One finding."""

    item: str
    found: str
    status: str = OK


def doctor(settings: Settings) -> Result:
    """Reports on the installation. The result has an error if something stops work."""
    parts: dict[str, Callable[[Settings], Iterator[Row]]] = {
        "versions": _versions, "processor": _processor, "threads": _threads, "cache": _cache, "plugins": _plugins,
        "extras": _extras, "compiler": _compiler,
    }  # fmt: skip
    found = {section: _guarded(part, settings) for section, part in parts.items()}
    faults = [f"{section}: {r.item}: {r.found}" for section, rows in found.items() for r in rows if r.status == FAULT]
    record = {section: {r.item: {"found": r.found, "status": r.status} for r in rows} for section, rows in found.items()}
    rows = [(section, r.item, r.found, r.status) for section, rows in found.items() for r in rows]
    error = GraphExecError("graphexec does not work here", facts=faults, todo="Correct what is reported as a fault.")
    return Result(out.table(rows, ("", "", "found", "status")), {"works": not faults, **record}, error=error if faults else None)


def _guarded(part: Callable[[Settings], Iterator[Row]], settings: Settings) -> list[Row]:
    """The rows of a part; what it fails of is one of them, and so is each warning."""
    rows: list[Row] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            rows.extend(part(settings))
        except Exception as error:  # the doctor reports what is broken, and goes on
            rows.append(Row("failed", _first_line(error), FAULT))
    texts = dict.fromkeys(str(w.message).partition("\n")[0] for w in warned if "is refused" not in str(w.message))
    return [*rows, *(Row(f"warning {number}", text, WARNING) for number, text in enumerate(texts, 1))]


def _first_line(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# -- parts


def _versions(settings: Settings) -> Iterator[Row]:
    from graphexec.ir.api_version import API_VERSION

    for name in ("graphexec", *REQUIRED):
        try:
            yield Row(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Row(name, "not installed", FAULT)
    yield Row("plugin interface", str(API_VERSION))
    yield Row("Python", f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}")
    tested = (platform.system(), platform.machine()) == ("Linux", "x86_64")
    remark = "" if tested else "; only Linux on x86-64 is tested"
    yield Row("system", f"{platform.platform()}{remark}", OK if tested else WARNING)


def _processor(settings: Settings) -> Iterator[Row]:
    from graphexec.codegen import shipped
    from graphexec.llvm import object_code, toolchain

    name, features = toolchain.host()
    has = {f[1:] for f in features.split(",") if f.startswith("+")}
    yield Row("target", f"{name}, {toolchain.triple()}")
    yield Row("features", ", ".join(f for f in FEATURES if f in has) or "none that matter")
    yield Row("vector registers", f"{8 * toolchain.vector_bytes()} bits")
    level = object_code.level()
    slow = "the first start compiles kernels that the package brings for other installations"
    if level is None:
        yield Row("shipped object code", f"none for this processor: {slow}", WARNING)
    elif object_code.ARCHIVES[level].members is None:
        yield Row("shipped object code", f"does not apply: made with another llvmlite, or for another system: {slow}", WARNING)
    else:
        yield Row("shipped object code", f"for {level}")
    if shipped.ARCHIVE.members is None:
        yield Row("shipped functions", f"do not apply: made with other versions: {slow}", WARNING)
    else:
        yield Row("shipped functions", "apply")


def _threads(settings: Settings) -> Iterator[Row]:
    from graphexec.runtime.thread_pool import VARIABLE, default_threads, thread_limits

    limits = thread_limits()
    count = settings.threads or default_threads()
    decides = "--threads" if settings.threads else min(limits, key=lambda k: (k != VARIABLE, limits[k]))
    yield Row("number", f"{count}, decided by {decides}")
    for name, limit in limits.items():
        yield Row(name, str(limit))
    given = os.environ.get(VARIABLE)
    if given and VARIABLE not in limits:
        yield Row(VARIABLE, f"{given!r} is no positive whole number, and is ignored", WARNING)
    if count > limits["processors"]:
        yield Row("too many", f"{count} threads share {limits['processors']} processors: each waits for the others", WARNING)


def _cache(settings: Settings) -> Iterator[Row]:
    from graphexec.llvm import cache

    cache.directory.cache_clear()  # it warns once, and this is where it must
    folder = cache.directory()
    if folder is None:
        yield Row("folder", "none: every process compiles its kernels again", WARNING)
        return
    yield Row("folder", str(folder))
    sizes = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                sizes.append(entry.stat(follow_symlinks=False).st_size)
            except OSError:  # another process has just removed it
                continue
    yield Row("size", f"{sum(sizes) / 1e6:.1f} MB in {len(sizes)} files")
    probe = f"doctor-{os.getpid()}"
    cache.write(probe, b"probe")
    kept = cache.read(probe) == b"probe"
    (folder / probe).unlink(missing_ok=True)
    yield Row("writable", "yes" if kept else "no: every process compiles new kernels again", OK if kept else WARNING)
    yield _locks(folder)


def _locks(folder: Path) -> Row:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            taken = file_lock.take(file.fileno(), wait=False)
    except OSError as error:
        return Row("locks", f"unknown: {cause_of(error, writing=True).what}", WARNING)
    return Row("locks", "work") if taken else Row("locks", "the file system has none: files of killed processes stay", WARNING)


def _plugins(settings: Settings) -> Iterator[Row]:
    from graphexec.ir.registry import ENTRY_POINTS, registry

    for path in settings.plugins:
        try:
            names = registry.load_file(path)
        except GraphExecError as error:
            yield Row(path, f"refused: {_plain(error)}", WARNING)
        else:
            yield Row(path, _count(names))
    registry.names()
    for entry in sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda e: e.value):
        package = "unknown package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
        names, refused = registry.of_package(entry.value)
        builtin = entry.value == "graphexec_ops"
        status = FAULT if builtin and not names else WARNING if not names else OK
        if entry.value not in refused:
            yield Row(entry.value, f"{_count(names)}, from {package}", status)
        for module, refusal in refused.items():
            yield Row(module, f"refused: {_plain(refusal)}", FAULT if builtin else WARNING)


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} op{'' if len(names) == 1 else 's'}"


def _plain(error: GraphExecError) -> str:
    return " ".join(" ".join([f"{error.where}: {error.what}" if error.where else error.what, error.todo or ""]).split())


def _extras(settings: Settings) -> Iterator[Row]:
    wanted: dict[str, list[str]] = {}
    for text in metadata.requires("graphexec") or ():
        found = re.match(r"([\w.-]+).*;.*\bextra\s*==\s*['\"]([\w.-]+)['\"]", text)
        if found:
            wanted.setdefault(found[2], []).append(found[1])
    for extra, names in wanted.items():
        missing = [name for name in names if not _is_installed(name)]
        text = "installed" if not missing else f"not installed: {', '.join(missing)}. pip install 'graphexec[{extra}]' adds them"
        yield Row(extra, text)


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _compiler(settings: Settings) -> Iterator[Row]:
    """Runs an op, and imports Numba, which only array kernels of plugins need."""
    from graphexec.codegen.linker import work
    from graphexec.ir.registry import registry

    begin = time.perf_counter()
    x = np.linspace(0.1, 1.0, 7)
    found = registry.get("tanh")(x)
    right = bool(np.allclose(found, np.tanh(x), rtol=1e-12))
    taken = out.seconds(time.perf_counter() - begin)
    yield Row("a kernel", f"right, after {taken}" if right else f"wrong: tanh of {x} is {found}", OK if right else FAULT)
    begin = time.perf_counter()
    try:
        importlib.import_module("graphexec.codegen.numba_frontend")
        yield Row("Numba", f"imported in {out.seconds(time.perf_counter() - begin)}")
    except Exception as error:  # versions that do not fit together fail in many ways
        yield Row("Numba", f"cannot be imported: {_first_line(error)}", FAULT)
    origins = f"{work.cached} from the cache, {work.shipped} from the package, {work.compiled} compiled"
    yield Row("native code here", f"{origins}; reading and compiling took {out.seconds(work.seconds)}")
