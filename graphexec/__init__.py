"""graphexec: a Numba-jitted graph executor with plugin ops.

    graph file / Python API -> Graph (a NetworkX DAG) -> infer -> differentiate -> optimize -> plan_memory -> lower -> run

`gx.Graph` holds the graph, `gx.ops` the ops, `gx.compile` makes it run; `graphexec.plugin` declares ops of your own.
"""

from os import PathLike
from typing import Any

from graphexec.autodiff.reverse import differentiate
from graphexec.eager import install as _install_eager_mode
from graphexec.errors import (
    CycleError,
    DataError,
    DifferentiationError,
    DtypeError,
    GradientMismatch,
    GraphError,
    GraphExecError,
    GraphFileError,
    KernelError,
    OpError,
    PluginError,
    ShapeError,
)
from graphexec.executable import Executable, compile  # noqa: A004
from graphexec.graph.graph import Graph, Value
from graphexec.ir.namespace import ops
from graphexec.ir.registry import registry as _registry
from graphexec.optim.optimizers import SGD, Adam, AdamW, Optimizer

__version__ = "0.1.0"

__all__ = [
    "SGD", "Adam", "AdamW", "CycleError", "DataError", "DifferentiationError", "DtypeError", "Executable", "GradientMismatch",
    "Graph", "GraphError", "GraphExecError", "GraphFileError", "KernelError", "OpError", "Optimizer", "PluginError", "ShapeError",
    "Value", "check_gradient", "compile", "differentiate", "load", "load_plugin", "ops", "register",
]  # fmt: skip

load_plugin = _registry.load_file
register = _registry.register_declaration


def load(path: str | PathLike[str]) -> Graph:
    """Reads a graph file, .yaml, .yml or .json; see `graphexec.graph.file.read.load`."""
    from graphexec.graph.file.read import load  # YAML is imported by those who read it

    return load(path)


def check_gradient(graph_or_op: Any, *arguments: Any, **options: Any) -> Any:
    """Compares gradients with central differences in float64; see `graphexec.gradcheck.check_gradient`."""
    from graphexec.gradcheck import check_gradient

    return check_gradient(graph_or_op, *arguments, **options)


_install_eager_mode()
