"""early_likes: an operand that lends its shape only may be any value of that shape; the earliest one is taken.

So a backward view waits for no forward value, and can stand before the loops that it is fused into. `after` is left
alone: waiting is what it is for.
"""

from __future__ import annotations

from typing import Any

from graphexec.infer import _key
from graphexec.order import ABSENT, Node, Order


def early_likes(order: Order) -> Order:
    """The order with each such operand replaced by the first value of the same shape and dtype."""
    earliest: dict[Any, int] = {}
    for leaf in order.leaves:
        earliest.setdefault(_key(order.specs[leaf.value_id]), leaf.value_id)
    nodes = []
    for node in order.nodes:
        if node.op.like and not node.op.variadic and node.op.name != "after":
            inputs = tuple(
                earliest[_key(order.specs[v])] if v != ABSENT and p in node.op.like else v
                for p, v in zip(node.op.inputs, node.inputs, strict=False)
            )
            node = Node(node.name, node.op, inputs, node.outputs, node.attributes, node.source)
        nodes.append(node)
        for value in node.outputs:
            earliest.setdefault(_key(order.specs[value]), value)
    return order.with_nodes(nodes)
