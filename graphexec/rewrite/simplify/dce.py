"""prune: nodes that nothing wanted depends on are not computed."""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.ir.function import Function


def dce(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with only what its outputs, gradients and deltas, ``keep`` and the updates of leaves need."""
    needed = {*fn.kept, *keep}
    kept = []
    for node in reversed(fn.nodes):
        if node.op.updates or not needed.isdisjoint(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    kept.reverse()
    leaves = [leaf for leaf in fn.leaves if leaf.kind != "constant" or leaf.value_id in needed]
    return fn.with_nodes(kept, leaves=leaves)
