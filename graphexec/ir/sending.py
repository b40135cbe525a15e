"""sending: how an op that goes to another process of the same user is found there, in Python's pickle protocol.

No code travels. Built-in ops and those of installed packages are found by name. The op of a plugin file is loaded from that file,
if it has not changed; one that a script has registered is found as Python finds functions, by module and name.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

from graphexec.errors import PluginError
from graphexec.ir.declare import Declaration
from graphexec.ir.op import Op
from graphexec.ir.registry import registry

Origin = tuple[str, str, str] | None
"""("file", path, hash) or ("module", name, name in it); None for an op of an installed package."""


def reduced(op: Op) -> tuple[Any, ...]:
    """What Python's pickle protocol keeps of an op. *Raises* PluginError for one that another process could not find."""
    base = op.name.partition(".")[0]
    if base not in registry or registry.get(op.name) is not op:
        raise _refused(op, "it is not registered, so another process could not find it", "Register it: gx.register(op).")
    return received, (op.name, _origin(registry.get(base)))


def _origin(op: Op) -> Origin:
    """Where an op comes from; None if its name is enough."""
    if registry.is_installed(op):
        return None
    file = registry.file_of(op)
    if file is not None:
        return ("file", *file)
    function = getattr(op.function, "py_func", op.function)
    module = "__main__" if function.__module__ == "__mp_main__" else str(function.__module__)  # a spawned process renames it
    loaded = sys.modules.get(function.__module__)
    if module == "__main__" and not hasattr(loaded, "__file__"):
        raise _refused(op, "it was declared at a prompt, which another process does not have", _TODO)
    if _declared(loaded, function.__qualname__) is not op:
        raise _refused(op, f"{module}.{function.__qualname__} is not this op, so another process could not find it", _TODO)
    return "module", module, function.__qualname__


_TODO = "Declare it at the top level of a module, or put it into a plugin file and call gx.load_plugin(path)."


def received(name: str, origin: Origin) -> Op:
    """The op that another process has sent. *Raises* PluginError if it is not found, or is another one here."""
    base = name.partition(".")[0]
    if origin is not None and origin[0] == "file":
        _load(base, Path(origin[1]), origin[2])
    elif origin is not None:
        _import(base, origin[1], origin[2])
    return registry.get(name)


def _load(name: str, path: Path, digest: str) -> None:
    """Loads the plugin file of an op unless this process has done so."""
    known = registry.get(name) if name in registry else None
    here = None if known is None else registry.file_of(known)
    if here is not None and here[1] == digest:  # the path may differ: it is the same text
        return
    if known is not None:
        raise PluginError(
            f"the op {name!r} that was sent is not the one that this process knows", op=name, source=known.file,
            facts=[f"it was sent from {path}"], todo="Load the same plugin files in both processes.",
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    if found != digest:
        state = "does not exist here" if found is None else "has changed since the other process loaded it"
        todo = "Send it again from a process that has loaded the file as it is now."
        raise PluginError(f"the op {name!r} cannot be received: its file {state}", op=name, source=str(path), todo=todo)
    registry.load_file(path)


def _import(name: str, module: str, qualname: str) -> None:
    """Imports the module that declares an op, and registers the op if the module has not done so."""
    try:
        found = _declared(importlib.import_module(module), qualname)
    except ImportError as error:
        raise PluginError(f"the op {name!r} cannot be received: {error}", op=name, todo=_TODO) from error
    if found is None:
        what = f"the op {name!r} cannot be received: the module {module} has no op {qualname}"
        raise PluginError(what, op=name, todo=f"{_TODO} Keep it outside `if __name__ == '__main__':`.")
    if name not in registry or registry.get(name) is not found:
        registry.register_declaration(Declaration(found))


def _declared(module: Any, qualname: str) -> Op | None:
    value = module
    for part in qualname.split("."):
        value = getattr(value, part, None)
    return value.op if isinstance(value, Declaration) else None


def _refused(op: Op, why: str, todo: str) -> PluginError:
    return PluginError(f"the op {op.name!r} cannot be sent to another process: {why}", op=op.name, source=op.file, todo=todo)


def needed(names: Iterable[str]) -> list[Op]:
    """The ops of these names that are not installed, and those that their rules name; other names are ignored."""
    found: dict[str, Op] = {}
    waiting = [name.partition(".")[0] for name in names]
    while waiting:
        name = waiting.pop()
        if name in found or name not in registry or registry.is_installed(registry.get(name)):
            continue
        op = found[name] = registry.get(name)
        for function in (op.function, op.rules.gradient, op.rules.decomposition):
            code = getattr(getattr(function, "py_func", function), "__code__", None)
            if isinstance(code, CodeType):
                waiting += _names(code)
    return list(found.values())


def _names(code: CodeType) -> Iterator[str]:
    """Names and strings in a function: `ops.name` and `ops["name"]` are among them."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        elif isinstance(constant, str):
            yield constant
