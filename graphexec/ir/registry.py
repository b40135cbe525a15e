"""The registry of ops: finds them through the entry-point group `graphexec.ops`, checks them, and registers them by name.

An entry point names a module that declares ops, or a package of such modules. A broken plugin is refused with a warning and
does not affect the others. A graph file only names ops; it never causes a plugin to be loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from graphexec.errors import GraphExecError, OpError, PluginError, with_hint
from graphexec.ir.api_version import newer, newer_module, require_known
from graphexec.ir.declare import Declaration
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import EAGER_HOOKS, Op
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.source_text import is_own_text
from graphexec.system_errors import require_file

ENTRY_POINTS = "graphexec.ops"


class Registry:
    """Ops by name. Entry points are loaded when an op is first looked up."""

    def __init__(self, load_entry_points: bool = True) -> None:
        self._ops: dict[str, Op] = {}
        self._pending, self._started, self._loading = load_entry_points, False, threading.RLock()
        self._by_hand: dict[str, Op] = {}
        self._installed: set[Op] = set()
        self._files: dict[Op, tuple[str, str]] = {}
        self.refused: dict[str, GraphExecError] = {}

    def get(self, name: str) -> Op:
        """Returns the op of that name; ``"swish.backward"`` and ``"swish.d_out.x.x"`` are ops of swish's backward nodes.

        *Raises* OpError with the nearest known name.
        """
        self._load()
        op = self._ops.get(name)
        if op is not None:
            return op
        base, *steps = name.split(".")
        op = self._ops.get(base)
        if op is not None and steps:
            op = EAGER_HOOKS.derived(op, steps)
        if op is None:
            raise OpError(
                with_hint(f"unknown op {name!r}", name, self._public()), facts=[str(e) for e in self.refused.values()][:1],
                todo="`graphexec ops list` lists the ops; --plugin FILE.py or gx.load_plugin(path) adds yours.",
            )
        return op

    def of_node(self, name: str) -> Op:
        """Returns the op that a node of a graph names. *Raises* OpError for an unknown op, and for one of the engine's own."""
        op = self.get(name)
        if op.internal:
            todo = "Use another op: `graphexec ops list` lists them."
            raise OpError(f"only the engine writes nodes of the op {name!r}", todo=todo)
        return op

    def _public(self) -> list[str]:
        return [name for name, op in self._ops.items() if not op.internal]

    def snapshot(self) -> Mapping[str, Op]:
        """The ops by name as they are now, for :meth:`restore`."""
        self._load()
        return dict(self._ops)

    def restore(self, ops: Mapping[str, Op]) -> None:
        """Makes the known ops those of a snapshot."""
        self._ops = dict(ops)

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._ops

    def names(self) -> list[str]:
        """The names of all ops, sorted."""
        self._load()
        return sorted(self._ops)

    def register(self, op: Op) -> None:
        """Registers an op. *Raises* PluginError when it is incomplete or an op of another file has its name."""
        known = self._ops.get(op.name)
        if known is not None and known.file.rpartition(":")[0] != op.file.rpartition(":")[0]:
            raise PluginError(
                f"an op named {op.name!r} exists already", op=op.name, source=op.file,
                facts=[f"the other one is declared at {known.file}"], todo="Rename one of them.",
            )
        check_complete(op)
        self._ops[op.name] = op

    def register_declaration(self, declaration: Declaration) -> Declaration:
        """Registers an op declared in a script or a notebook, and returns it, so that it also works as a decorator.

        The checks are those for a plugin file. A later call with the same name replaces the op, so that a notebook cell can run
        again. Built-in ops and those of files are never replaced.

        A function without source text, as one typed at Python's prompt, runs like any other, but its gradient cannot be derived:
        give one with ``@op.backward``.

        *Raises* PluginError when the op is incomplete, its name is taken, or Python finds the text of another function in place
        of its own; the registry then stays unchanged.
        """
        if not isinstance(declaration, Declaration):
            todo = "Declare an op with the decorators of graphexec.plugin, and register that."
            raise PluginError(f"{declaration!r} is not a declared op", todo=todo)
        self._load()
        op, name = declaration.op, declaration.op.name
        with self._undone_on_error():
            known = self._ops.get(name)
            if known is not None and known is self._by_hand.get(name):
                del self._ops[name]
            self.register(op)
            check_text(op)
        self._by_hand[name] = op
        return declaration

    def is_installed(self, op: Op) -> bool:
        """Whether an op comes from an installed package, so that every process finds it by its name."""
        return op in self._installed

    def packages(self) -> list[str]:
        """The installed packages that offer ops, whether they were refused or not; sorted."""
        self._load()
        return sorted({name.partition(".")[0] for name in (*self.refused, *(op.function.__module__ for op in self._installed))})

    def of_package(self, package: str) -> tuple[list[str], dict[str, GraphExecError]]:
        """The names of the ops of an installed package, or a part of one, sorted; and its modules that were refused, with why."""
        self._load()
        inside = f"{package}."
        names = [op.name for op in self._installed if f"{op.function.__module__}.".startswith(inside)]
        return sorted(names), {name: e for name, e in sorted(self.refused.items()) if f"{name}.".startswith(inside)}

    def file_of(self, op: Op) -> tuple[str, str] | None:
        """The path of the plugin file that an op comes from, and the hash of its content when it was loaded."""
        return self._files.get(op)

    def unregister(self, name: str) -> None:
        """Removes an op."""
        del self._ops[name]

    def load_module(self, module: ModuleType) -> list[str]:
        """Registers all ops that a module declares, or none if one is refused. *Raises* PluginError."""
        require_known(module)
        found = [v.op for v in vars(module).values() if isinstance(v, Declaration) and v.op.function.__module__ == module.__name__]
        found = list({id(op): op for op in found}.values())
        with self._undone_on_error():
            seen: dict[str, Op] = {}
            for op in found:
                earlier = seen.setdefault(op.name, op)
                if earlier is not op:
                    raise PluginError(
                        f"the file declares {op.name!r} twice", op=op.name, source=op.file,
                        facts=[f"the other one is declared at {earlier.file}"], todo="Rename one of them.",
                    )  # fmt: skip
                self.register(op)
        return [op.name for op in found]

    def load_file(self, path: str | Path) -> list[str]:
        """Runs a plugin file, registers its ops and returns their names.

        *Raises* PluginError when the file is missing, fails, or declares no op; the registry then stays unchanged.
        """
        self._load()
        path = Path(path)
        require_file(path, PluginError, "Give the path of a Python file that declares ops.")
        name = f"graphexec_plugin_{path.stem}_{abs(hash(path.resolve())):x}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise PluginError("not a Python file", source=str(path), todo="A plugin is a file NAME.py.")
        module = importlib.util.module_from_spec(spec)
        content = str(path.resolve()), hashlib.sha256(path.read_bytes()).hexdigest()
        sys.modules[name] = module
        try:
            with self._undone_on_error():
                spec.loader.exec_module(module)
                names = self.load_module(module)
                if not names:
                    todo = "Declare one with @elementwise, @kernel or @composite."
                    raise PluginError("the file declares no op", source=str(path), todo=todo)
        except KeyboardInterrupt:
            sys.modules.pop(name, None)
            raise
        except BaseException as error:  # a plugin may fail in any way, sys.exit() included
            sys.modules.pop(name, None)
            raise newer(path) or _refusal(error, path) from error
        self._files.update({self._ops[n]: content for n in names})
        return names

    @contextlib.contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        """Restores the ops if a plugin is refused, even one that calls the registry itself."""
        before = dict(self._ops)
        try:
            yield
        except BaseException:
            self._ops = before
            raise

    def _load(self) -> None:
        if not self._pending:
            return
        with self._loading:  # other threads wait; this one may look ops up while it loads them
            if not self._pending or self._started:
                return
            self._started = True
            try:
                from importlib.metadata import entry_points  # late: it takes as long as a third of NumPy

                entries = entry_points(group=ENTRY_POINTS)
                for entry in sorted(entries, key=lambda e: (e.value != "graphexec_ops", e.name)):
                    self._load_guarded(entry.value, whole=True)
            finally:
                self._pending = False

    def _load_guarded(self, name: str | ModuleType, whole: bool = False) -> None:
        """Loads a plugin; it may fail in any way, sys.exit() included, without affecting the others."""
        try:
            if whole:
                module = importlib.import_module(str(name))
                require_known(module)
                for part in _modules(module):
                    self._load_guarded(part)
                return
            with self._undone_on_error():
                names = self.load_module(importlib.import_module(name) if isinstance(name, str) else name)
            self._installed.update(self._ops[n] for n in names)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._refuse(name if isinstance(name, str) else name.__name__, error)

    def _refuse(self, name: str, error: BaseException) -> None:
        what = f"the plugin {name!r} failed while it was loaded: {_error_text(error)}"
        failed = error if isinstance(error, GraphExecError) else PluginError(what, todo="Fix or uninstall the plugin.")
        refusal = newer_module(name) or failed
        self.refused[name] = refusal
        warnings.warn(f"graphexec: plugin {name!r} is refused\n{refusal}", stacklevel=4)


def check_complete(op: Op) -> None:
    """Checks properties that are known only after the whole file is read. *Raises* PluginError."""
    if isinstance(op, KernelOp) and op.differentiable and not op.rules.differentiates and "f" in op.kinds:
        _incomplete(op, "it has no backward rule", "Give one with @op.backward or @op.gradient, or set differentiable=False.")
    if isinstance(op, (ElementwiseOp, KernelOp)) and op.reference is None:
        _incomplete(op, "it has no reference", "Give reference=, the same function of NumPy arrays; the checker compares them.")
    if op.reference is not None and not callable(op.reference):
        _incomplete(op, f"its reference is not a function: {op.reference!r}", "Give a function of NumPy arrays.")
    if not op.name.isidentifier():
        _incomplete(op, f"{op.name!r} is not a name", "Declare it with def: the function's name is the op's name.")
    for operand in op.shape_only:
        if operand not in op.inputs:
            _incomplete(op, f"shape_only names {operand!r}, which is not an operand", f"Its operands are {', '.join(op.inputs)}.")
    for name, default in _positional_defaults(op):
        _incomplete(op, f"the operand {name!r} has the default {default!r}", f"Write * before {name} to make it an attribute.")
    for bounds in op.domain.values() if isinstance(op.domain, Mapping) else [op.domain]:
        if bounds is not None and not _is_interval(bounds):
            _incomplete(op, f"{bounds!r} is not a domain", "Give domain=(low, high), or a mapping of operands to such pairs.")


def check_text(op: Op) -> None:
    """*Raises* PluginError if the text that the engine would compile for an op is not the one that Python has compiled."""
    functions = [op.function] if op.rules.backward is None else [op.function, op.rules.backward.function]
    for function in functions:
        if not is_own_text(function):
            code = function.__code__
            raise PluginError(
                f"the text at {code.co_filename}:{code.co_firstlineno} is not that of the function {code.co_name!r}", op=op.name,
                facts=["the file has changed since Python read it, or another text was executed under its name"],
                source=op.file, todo="Load the file again; compile a text of your own under a name such as '<text 1>'.",
            )


def _incomplete(op: Op, what: str, todo: str) -> NoReturn:
    raise PluginError(what, op=op.name, source=op.file, todo=todo)


def _positional_defaults(op: Op) -> list[tuple[str, Any]]:
    """Operands with a default other than None; only None marks an optional operand."""
    parameters = inspect.signature(op.function).parameters.values()
    operands = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return [(p.name, p.default) for p in operands if p.default is not p.empty and p.default is not None]


def _is_interval(bounds: Any) -> bool:
    numbers = isinstance(bounds, (tuple, list)) and len(bounds) == 2 and all(isinstance(b, (int, float)) for b in bounds)
    return numbers and bounds[0] < bounds[1]


def _refusal(error: BaseException, path: Path) -> PluginError:
    """Turns a plugin file's failure into one error, with the file as the caller named it, and the line."""
    place = _error_place(error, path)
    if not isinstance(error, GraphExecError):
        return PluginError(f"the plugin failed while it was loaded: {_error_text(error)}", source=place, todo="Correct the file.")
    source = (error.source or place).replace(os.path.abspath(path), str(path))
    return PluginError(error.what, facts=error.facts, todo=error.todo, node=error.node, op=error.op, source=source)


def _error_text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # another author's __str__ may fail
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _modules(module: ModuleType) -> Iterator[str | ModuleType]:
    """Yields a module and, if it is a package, its submodules, sorted by name."""
    yield module
    if hasattr(module, "__path__"):
        for info in sorted(pkgutil.walk_packages(module.__path__, module.__name__ + "."), key=lambda i: i.name):
            if not info.ispkg:
                yield info.name


def _error_place(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{path}:{error.lineno}" if error.filename in (None, str(path), os.path.abspath(path)) else str(path)
    trace = error.__traceback__
    line = None
    while trace is not None and line is None:  # the line of this file, not of a function that it called
        if trace.tb_frame.f_code.co_filename in (str(path), os.path.abspath(path)):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{path}:{line}" if line else str(path)


registry = Registry()
"""The one registry of the process."""
