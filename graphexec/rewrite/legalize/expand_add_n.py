"""expand_add_n: replaces each n-ary sum by a chain of n - 1 additions, first to last, each placed as soon as its terms exist.

Each partial sum dies where it is read, so the chain runs in place, and no term waits for a later one: a weight that is used
a thousand times does not hold a thousand contributions. One kernel serves sums of any length.
"""

from __future__ import annotations

from graphexec.ir.function import Function, Node
from graphexec.ir.registry import registry
from graphexec.ir.spec import TensorSpec


def expand_add_n(fn: Function) -> Function:
    """The function without n-ary sums."""
    sums = {op for op in fn.ops if op.sum_of_many}
    if not sums:
        return fn
    names, specs = list(fn.names), list(fn.specs)
    made = {v: position for position, node in enumerate(fn.nodes) for v in node.outputs}
    ready: dict[int, list[Node]] = {}
    for position, node in enumerate(fn.nodes):
        if node.op in sums:
            for addition in _chain(node, names, specs):
                place = max(made.get(v, -1) for v in addition.inputs)
                made[addition.outputs[0]] = place = position if place < 0 else place
                ready.setdefault(place, []).append(addition)
    nodes: list[Node] = []
    for position, node in enumerate(fn.nodes):
        if node.op not in sums:
            nodes.append(node)
        nodes += ready.get(position, ())
    return fn.with_nodes(nodes, names=names, specs=specs)


def _chain(node: Node, names: list[str], specs: list[TensorSpec]) -> list[Node]:
    """The additions that compute a sum; appends their partial sums to ``names`` and ``specs``."""
    if len(node.inputs) == 1:
        return [Node(node.name, registry.get("copy"), node.inputs, node.outputs, {}, node.location)]
    add, total, chain = registry.get("add"), node.inputs[0], []
    for k, term in enumerate(node.inputs[1:], 1):
        result = node.outputs[0]
        if k < len(node.inputs) - 1:
            result = len(names)
            names.append(f"{node.name}.{k}")
            specs.append(specs[node.outputs[0]])
        chain.append(Node(names[result], add, (total, term), (result,), {}, node.location))
        total = result
    return chain
