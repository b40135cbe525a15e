"""accumulate: products that meet in a sum are added up where the sum lies, and slices that meet are laid side by side.

A weight that is used a hundred times gets a hundred products; each is added to what the ones before it gave while it is
computed. A value of which a hundred slices are used gets a hundred deltas, each zero outside its slice; where they cover
it without overlap their sum is a concatenation.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.ir.function import Function, Node
from graphexec.ir.registry import registry


def readers_of(fn: Function, keep: Iterable[int]) -> list[int]:
    """For each value, how many operands it is; what is kept counts as read by more than one."""
    count = [0] * len(fn.names)
    for node in fn.nodes:
        for value in node.inputs:
            if value >= 0:
                count[value] += 1
    for value in (*fn.kept, *keep):
        count[value] += 2  # what is kept is not only read by one
    return count


def concat_of_slices(fn: Function) -> Function:
    """The order with sums of slices that tile a value as concatenations."""
    if not fn.has("unslice"):
        return fn
    made = {v: n for n in fn.nodes if n.op.name == "unslice" for v in n.outputs}
    concat = registry.get("concat")

    def rewritten(node: Node) -> Node:
        if node.op.name != "add_n" or not all(v in made for v in node.inputs):
            return node
        parts = [made[v] for v in node.inputs]
        shape = fn.specs[node.outputs[0]].shape
        axes = {p.attributes["axis"] % len(shape) for p in parts}
        if len(axes) > 1 or any(p.attributes["step"] != 1 for p in parts):
            return node
        axis = axes.pop()
        spans = sorted((slice(p.attributes["start"], p.attributes["end"]).indices(shape[axis])[:2], p.inputs[0]) for p in parts)
        edges = [0] + [end for (_, end), _ in spans]
        if [start for (start, _), _ in spans] != edges[:-1] or edges[-1] != shape[axis] or type(shape[axis]) is not int:
            return node
        return Node(node.name, concat, tuple(v for _, v in spans), node.outputs, {"axis": axis}, node.source)

    return fn.with_nodes([rewritten(node) for node in fn.nodes])


def gemm_accumulate(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with `matmul_add` where a sum's second term is a product that only the sum reads."""
    if not fn.has("matmul"):
        return fn
    readers = readers_of(fn, keep)
    op = registry.get("matmul_add")
    product = {n.outputs[0]: n for n in fn.nodes if n.op.name == "matmul" and readers[n.outputs[0]] == 1}
    owned = {n.outputs[0] for n in fn.nodes if n.op.name in ("matmul", "add") and readers[n.outputs[0]] == 1}
    gone: set[int] = set()
    nodes = []
    for node in fn.nodes:
        if node.op.name == "add" and node.inputs[1] in product and node.inputs[0] in owned and node.inputs[0] != node.inputs[1]:
            total, term = node.inputs
            if fn.specs[total] == fn.specs[term] == fn.specs[node.outputs[0]]:
                gone.add(term)
                node = Node(node.name, op, (total, *product[term].inputs), node.outputs, {}, node.source)
        nodes.append(node)
    return fn.with_nodes([n for n in nodes if not (n.outputs[0] in gone and n.op.name == "matmul")])
