"""pairwise: a sum of n values becomes a chain of n - 1 additions, first to last.

Each partial sum is over as soon as it is read, so the chain runs in place; and one kernel serves sums of any length.
"""

from __future__ import annotations

from graphexec.order import Node, Order
from graphexec.registry import registry


def pairwise(order: Order) -> Order:
    """The order without `add_n` nodes."""
    if not any(node.op.name == "add_n" for node in order.nodes):
        return order
    add, copy = registry.get("add"), registry.get("copy")
    nodes, names, specs = [], list(order.names), list(order.specs)
    for node in order.nodes:
        if node.op.name != "add_n":
            nodes.append(node)
            continue
        if len(node.inputs) == 1:
            nodes.append(Node(node.name, copy, node.inputs, node.outputs, {}, node.source))
            continue
        total = node.inputs[0]
        for k, term in enumerate(node.inputs[1:], 1):
            last = k == len(node.inputs) - 1
            if last:
                result = node.outputs[0]
            else:
                result = len(names)
                names.append(f"{node.name}.{k}")
                specs.append(specs[node.outputs[0]])
            nodes.append(Node(names[result], add, (total, term), (result,), {}, node.source))
            total = result
    return order.with_nodes(nodes, names=names, specs=specs)
