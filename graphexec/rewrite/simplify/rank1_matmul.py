"""outer_products: a matrix product over an inner axis of size 1 is a broadcast multiplication, which fuses.

So the gradient of a weight for a batch of one sample is never stored: it is made where the weight is updated.
"""

from __future__ import annotations

from graphexec.ir.function import Function, Node
from graphexec.ir.registry import registry
from graphexec.ir.spec import is_one


def rank1_matmul(fn: Function) -> Function:
    """The order with such products as `multiply` nodes."""
    if not fn.has("matmul"):
        return fn
    multiply = registry.get("multiply")

    def rewritten(node: Node) -> Node:
        if node.op.name != "matmul" or not is_one(fn.specs[node.inputs[0]].shape[-1]):
            return node
        return Node(node.name, multiply, node.inputs, node.outputs, {}, node.source)

    return fn.with_nodes([rewritten(node) for node in fn.nodes])
