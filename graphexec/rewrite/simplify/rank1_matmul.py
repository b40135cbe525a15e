"""rank1_matmul: turns a matrix product whose inner axis has size 1 into a broadcast multiplication, which fuses.

So the gradient of a weight for a batch of one sample is never stored: it is computed where the weight is updated.
"""

from __future__ import annotations

from graphexec.ir.function import Function, Node
from graphexec.ir.registry import registry
from graphexec.ir.spec import is_one
from graphexec.ir.traits import factors, products


def rank1_matmul(fn: Function) -> Function:
    """The function with such products as `multiply` nodes."""
    multiplying = products(fn)
    if not multiplying:
        return fn
    multiply = registry.get("multiply")

    def rewritten(node: Node) -> Node:
        if node.op not in multiplying or not is_one(fn.specs[factors(node)[0]].shape[-1]):
            return node
        return Node(node.name, multiply, factors(node), node.outputs, {}, node.location)

    return fn.with_nodes([rewritten(node) for node in fn.nodes])
