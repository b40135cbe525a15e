"""concat_of_slices: replaces a sum of zero-padded slices that tile a value by their concatenation.

A value whose hundred slices are used gets a hundred deltas, each zero outside its slice. Where the slices cover the value
without overlap, the sum of the deltas is their concatenation.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphexec.ir.function import Function, Node
from graphexec.ir.registry import registry


def concat_of_slices(fn: Function) -> Function:
    """The function with such sums as concatenations."""
    scattering = {op for op in fn.ops if op.scatters_slice}
    sums = {op for op in fn.ops if op.sum_of_many}
    if not (scattering and sums):
        return fn
    scattered = {v: node for node in fn.nodes if node.op in scattering for v in node.outputs}

    def rewritten(node: Node) -> Node:
        if node.op not in sums or not all(v in scattered for v in node.inputs):
            return node
        return _concatenated(fn, node, [scattered[v] for v in node.inputs]) or node

    return fn.with_nodes([rewritten(node) for node in fn.nodes])


def _concatenated(fn: Function, node: Node, parts: Sequence[Node]) -> Node | None:
    """The sum of scattered slices as a concatenation; None where they do not tile one axis of a declared size."""
    shape = fn.specs[node.outputs[0]].shape
    axes = {p.attributes["axis"] % len(shape) for p in parts}
    if len(axes) > 1 or any(p.attributes["step"] != 1 for p in parts):
        return None
    axis = axes.pop()
    spans = sorted((slice(p.attributes["start"], p.attributes["end"]).indices(shape[axis])[:2], p.inputs[0]) for p in parts)
    edges = [0] + [end for (_, end), _ in spans]
    if [start for (start, _), _ in spans] != edges[:-1] or edges[-1] != shape[axis] or type(shape[axis]) is not int:
        return None
    return Node(node.name, registry.get("concat"), tuple(v for _, v in spans), node.outputs, {"axis": axis}, node.location)
