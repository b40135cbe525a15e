"""graphexec: a Numba-jitted graph executor with plugin ops.

    graph file / Python API -> Graph (a NetworkX DAG) -> infer -> differentiate -> optimize -> plan_memory -> lower -> run

`gx.Graph` holds the graph, `gx.ops` the ops, `gx.compile` makes it run; `graphexec.plugin` declares ops of your own.
"""

from os import PathLike
from typing import Any

from graphexec.autodiff.reverse import differentiate
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
from graphexec.interpret import evaluate_composite as _evaluate_composite
from graphexec.ir.builder import trace_composite as _trace_composite
from graphexec.ir.op import EAGER_HOOKS as _HOST
from graphexec.ir.registry import registry as _registry
from graphexec.optim.optimizers import SGD, Adam, AdamW, Optimizer
from graphexec.pipeline import compute as _compute
from graphexec.plugin import ops

__version__ = "0.1.0"

__all__ = [
    "SGD", "Adam", "AdamW", "CycleError", "DataError", "DifferentiationError", "DtypeError", "Executable", "GradientMismatch",
    "Graph", "GraphError", "GraphExecError", "GraphFileError", "KernelError", "OpError", "Optimizer", "PluginError", "ShapeError",
    "Value", "check_gradient", "compile", "differentiate", "load", "load_plugin", "ops",
]  # fmt: skip

load_plugin = _registry.load_file


def load(path: str | PathLike[str]) -> Graph:
    """Reads a graph file, .yaml, .yml or .json; see `graphexec.graph.file.load`."""
    from graphexec.graph.file import load  # YAML is imported by those who read it

    return load(path)


def check_gradient(graph_or_op: Any, *arguments: Any, **options: Any) -> Any:
    """Compares gradients with central differences in float64; see `graphexec.gradcheck.check_gradient`."""
    from graphexec.gradcheck import check_gradient

    return check_gradient(graph_or_op, *arguments, **options)


ops.connect(_registry.get, _registry.names)
_HOST.compute = _compute
_HOST.infer_composite = _trace_composite
_HOST.evaluate_composite = _evaluate_composite
