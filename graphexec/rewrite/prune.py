"""prune: nodes that nothing wanted depends on are not computed."""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.order import ABSENT, Order


def prune(order: Order, keep: Iterable[int] = ()) -> Order:
    """The order with only what its outputs, gradients and deltas, ``keep`` and the updates of leaves need."""
    needed = bytearray(len(order.names))
    for v in (*order.kept, *keep):
        needed[v] = 1
    kept = []
    for node in reversed(order.nodes):
        if node.op.updates or any(needed[v] for v in node.outputs):
            kept.append(node)
            for v in node.inputs:
                if v != ABSENT:
                    needed[v] = 1
    kept.reverse()
    leaves = [leaf for leaf in order.leaves if leaf.kind != "constant" or needed[leaf.value_id]]
    return order.with_nodes(kept, leaves=leaves)
