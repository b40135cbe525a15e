"""graphexec: a Numba-jitted graph executor with plugin ops.

    graph file / Python API -> Graph (a NetworkX DAG) -> infer -> differentiate -> optimize -> lower -> run

Build a graph with `gx.Graph` and `gx.ops`, and compile it with `gx.compile`; declare your own ops with `graphexec.plugin`.
"""

from graphexec import process as _process  # noqa: F401 - before imports that take long: Ctrl-C ends the command line with one line

# isort: split
from importlib import import_module
from os import PathLike
from threading import RLock
from typing import TYPE_CHECKING, Any

from graphexec.eager import install as _install_eager_mode
from graphexec.errors import (
    CycleError,
    DataError,
    DifferentiationError,
    DivergenceError,
    DtypeError,
    GradientMismatch,
    GraphError,
    GraphExecError,
    GraphFileError,
    KernelError,
    OpError,
    OutOfMemoryError,
    PluginError,
    ShapeError,
)
from graphexec.graph.graph import Graph, Value
from graphexec.ir.namespace import ops
from graphexec.ir.registry import registry as _registry
from graphexec.optim.optimizers import SGD, Adam, AdamW, Optimizer

if TYPE_CHECKING:
    from graphexec.autodiff.reverse import differentiate
    from graphexec.executable import Executable, compile  # noqa: A004

__version__ = "0.1.0"

__all__ = [
    "SGD", "Adam", "AdamW", "CycleError", "DataError", "DifferentiationError", "DivergenceError", "DtypeError", "Executable",
    "GradientMismatch", "Graph", "GraphError", "GraphExecError", "GraphFileError", "KernelError", "OpError", "Optimizer",
    "OutOfMemoryError", "PluginError", "ShapeError",
    "Value", "check_gradient", "check_op", "compile", "differentiate", "load", "load_plugin", "ops", "register",
]  # fmt: skip

_WHERE = {"Executable": "executable", "compile": "executable", "differentiate": "autodiff.reverse"}
"""Public names whose modules are imported when they are first asked for: the compiler is most of the package."""

_IMPORTING = RLock()

load_plugin = _registry.load_file
register = _registry.register_declaration


def load(path: str | PathLike[str]) -> Graph:
    """Reads a graph file (.yaml, .yml or .json); see `graphexec.graph.file.read.load`."""
    from graphexec.graph.file.read import load  # late: only graph files need YAML

    return load(path)


def check_gradient(graph_or_op: Any, *arguments: Any, **options: Any) -> Any:
    """Compares gradients with central differences in float64; see `graphexec.gradcheck.check_gradient`."""
    from graphexec.gradcheck import check_gradient

    return check_gradient(graph_or_op, *arguments, **options)


def check_op(op: Any, **options: Any) -> Any:
    """Finds what is wrong with an op, as a strict reviewer would; see `graphexec.opcheck.check_op`."""
    from graphexec.opcheck import check_op

    return check_op(op, **options)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'graphexec' has no attribute {name!r}")
    with _IMPORTING:
        found = globals()[name] = getattr(import_module(f"graphexec.{_WHERE[name]}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})


_install_eager_mode()
