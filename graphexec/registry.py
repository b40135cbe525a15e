"""The ops that are known: found through the entry-point group `graphexec.ops`, checked, and registered by name.

An entry point names a module that holds ops, or a package whose modules do. A plugin that is broken is refused with
a message and does not disturb the others. Graph files name ops; nothing here is ever loaded because a file asks.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from graphexec.errors import GraphExecError, OpError, PluginError, did_you_mean
from graphexec.op import ElementwiseOp, KernelOp, Op
from graphexec.plugin import Declaration

ENTRY_POINTS = "graphexec.ops"


class Registry:
    """Ops by name. Entry points load at the first question."""

    def __init__(self, load_entry_points: bool = True) -> None:
        self._ops: dict[str, Op] = {}
        self._pending = load_entry_points
        self.refused: dict[str, GraphExecError] = {}

    def get(self, name: str) -> Op:
        """The op of that name; ``"swish.backward"`` is the op of swish's backward nodes.

        *Raises* OpError, with the nearest known name.
        """
        self._load()
        base, *steps = name.split(".")
        op = self._ops.get(base)
        for step in steps:
            op = op.backward_op if op is not None and step == "backward" else None
        if op is None:
            hint = did_you_mean(name, self._ops)
            raise OpError(
                f"unknown op {name!r}" + (f"; {hint}" if hint else ""), facts=[str(e) for e in self.refused.values()][:1],
                todo="`graphexec ops list` lists the ops; --plugin FILE.py or gx.load_plugin(path) adds yours.",
            )
        return op

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._ops

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load()
        return sorted(self._ops)

    def register(self, op: Op) -> None:
        """*Raises* PluginError when the op is not complete or its name is taken by another file's."""
        known = self._ops.get(op.name)
        if known is not None and known.file.rpartition(":")[0] != op.file.rpartition(":")[0]:
            raise PluginError(
                f"an op named {op.name!r} exists already", op=op.name, source=op.file,
                facts=[f"the other one is declared at {known.file}"], todo="Rename one of them.",
            )
        check_complete(op)
        self._ops[op.name] = op

    def unregister(self, name: str) -> None:
        del self._ops[name]

    def load_module(self, module: ModuleType) -> list[str]:
        """Registers the ops that a module declares; all of them or, when one is refused, none."""
        found = [v.op for v in vars(module).values() if isinstance(v, Declaration) and v.op.function.__module__ == module.__name__]
        found = list({id(op): op for op in found}.values())
        before = dict(self._ops)
        try:
            for op in found:
                self.register(op)
        except GraphExecError:
            self._ops = before
            raise
        return [op.name for op in found]

    def load_file(self, path: str | Path) -> list[str]:
        """Runs a plugin file and registers its ops; gives their names.

        *Raises* PluginError when the file is missing, fails, or declares no op.
        """
        self._load()
        path = Path(path)
        if not path.is_file():
            raise PluginError("no such plugin file", source=str(path), todo="Give the path of a Python file that declares ops.")
        name = f"graphexec_plugin_{path.stem}_{abs(hash(path.resolve())):x}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise PluginError("not a Python file", source=str(path), todo="A plugin is a file NAME.py.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
            names = self.load_module(module)
        except GraphExecError as error:
            del sys.modules[name]
            raise error.at(source=str(path)) from error.__cause__
        except BaseException as error:
            del sys.modules[name]
            if isinstance(error, KeyboardInterrupt):
                raise
            raise PluginError(
                f"the plugin failed while it was loaded: {type(error).__name__}: {error}", source=_error_place(error, path),
                todo="Correct the file.",
            ) from error
        if not names:
            raise PluginError("the file declares no op", source=str(path), todo="Declare one with @elementwise, @kernel or @composite.")
        return names

    def _load(self) -> None:
        if not self._pending:
            return
        self._pending = False
        for entry in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda e: (e.value != "graphexec_ops", e.name)):
            try:
                for module in _modules(importlib.import_module(entry.value)):
                    self._load_guarded(module)
            except Exception as error:  # noqa: BLE001 - a foreign plugin may fail in any way and must not disturb the others
                self._refuse(entry.value, error)

    def _load_guarded(self, name: str | ModuleType) -> None:
        try:
            self.load_module(importlib.import_module(name) if isinstance(name, str) else name)
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(name if isinstance(name, str) else name.__name__, error)

    def _refuse(self, name: str, error: Exception) -> None:
        refusal = error if isinstance(error, GraphExecError) else PluginError(
            f"the plugin {name!r} failed while it was loaded: {type(error).__name__}: {error}", todo="Mend or uninstall it.")
        self.refused[name] = refusal
        warnings.warn(f"graphexec: plugin {name!r} is refused\n{refusal}", stacklevel=4)


def check_complete(op: Op) -> None:
    """What can be known only when the whole file is read. *Raises* PluginError."""
    if isinstance(op, KernelOp) and op.differentiable and not op.rules and "f" in op.kinds:
        raise PluginError(
            "it has no backward rule", op=op.name, source=op.file,
            todo="Give one with @op.backward or @op.gradient, or say differentiable=False.",
        )
    if isinstance(op, (ElementwiseOp, KernelOp)) and op.reference is None:
        raise PluginError(
            "it has no reference", op=op.name, source=op.file,
            todo="Give reference=, the same in NumPy on whole arrays: the checker compares the kernel with it.",
        )


def _modules(module: ModuleType) -> Iterator[str | ModuleType]:
    """The module, and those inside it where it is a package, in the order of their names."""
    yield module
    if hasattr(module, "__path__"):
        for info in sorted(pkgutil.walk_packages(module.__path__, module.__name__ + "."), key=lambda i: i.name):
            if not info.ispkg:
                yield info.name


def _error_place(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{path}:{error.lineno}"
    trace = error.__traceback__
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{path}:{line}" if line else str(path)


registry = Registry()
"""The registry of this process."""
