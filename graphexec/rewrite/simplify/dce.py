"""prune: nodes that nothing wanted depends on are not computed."""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.ir.function import Order


def prune(order: Order, keep: Iterable[int] = ()) -> Order:
    """The order with only what its outputs, gradients and deltas, ``keep`` and the updates of leaves need."""
    needed = {*order.kept, *keep}
    kept = []
    for node in reversed(order.nodes):
        if node.op.updates or not needed.isdisjoint(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    kept.reverse()
    leaves = [leaf for leaf in order.leaves if leaf.kind != "constant" or leaf.value_id in needed]
    return order.with_nodes(kept, leaves=leaves)
