"""graphexec: a Numba-jitted graph executor with plugin ops.

    graph file / Python API -> Graph (a NetworkX DAG) -> infer -> differentiate -> optimize -> plan_memory -> lower -> run

`gx.Graph` holds the graph, `gx.ops` the ops, `gx.compile` makes it run; `graphexec.plugin` declares ops of your own.
"""

from graphexec.builder import trace_composite as _trace_composite
from graphexec.differentiate import differentiate
from graphexec.errors import (
    CycleError,
    DataError,
    DifferentiationError,
    DtypeError,
    GraphError,
    GraphExecError,
    GraphFileError,
    KernelError,
    OpError,
    PluginError,
    ShapeError,
)
from graphexec.executable import Executable, compile  # noqa: A004
from graphexec.graph import Graph, Value
from graphexec.op import HOST as _HOST
from graphexec.pipeline import compute as _compute
from graphexec.plugin import ops
from graphexec.registry import registry as _registry
from graphexec.training.optimizers import SGD, Adam, AdamW, Optimizer

__version__ = "0.1.0"

__all__ = [
    "SGD", "Adam", "AdamW", "CycleError", "DataError", "DifferentiationError", "DtypeError", "Executable", "Graph", "GraphError",
    "GraphExecError", "GraphFileError", "KernelError", "OpError", "Optimizer", "PluginError", "ShapeError", "Value", "compile",
    "differentiate", "load_plugin", "ops",
]  # fmt: skip

load_plugin = _registry.load_file

ops.connect(_registry.get, _registry.names)
_HOST.compute = _compute
_HOST.infer_composite = _trace_composite
