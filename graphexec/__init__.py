"""graphexec."""

from graphexec.plugin import ops
from graphexec.registry import registry

ops.connect(registry.get, registry.names)
from graphexec.graph import Graph
