"""dce: removes nodes whose results nothing needs (dead code elimination)."""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.ir.function import Function


def dce(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function with only the nodes that its outputs, gradients, deltas, ``live_out`` and updates of leaves need."""
    needed = {*fn.live_out, *live_out}
    nodes = []
    for node in reversed(fn.nodes):
        if node.op.updates or not needed.isdisjoint(node.outputs):
            nodes.append(node)
            needed.update(node.inputs)
    nodes.reverse()
    leaves = [leaf for leaf in fn.leaves if leaf.role != "constant" or leaf.value_id in needed]
    return fn.with_nodes(nodes, leaves=leaves)
