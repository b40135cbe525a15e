"""gemm_accumulate: turns total + a @ b into one product that accumulates into total's memory.

A weight that is used a hundred times gets a hundred products; each is added to the sum of the earlier ones while it is
computed, so that no product needs memory of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.ir.function import Function, Node
from graphexec.ir.registry import registry
from graphexec.ir.traits import factors, products, with_factors
from graphexec.ir.uses import Uses


def gemm_accumulate(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function with `matmul_add` where a sum's second term is a product that only the sum reads."""
    multiplying, add, accumulating = products(fn), registry.get("add"), registry.get("matmul_add")
    if not multiplying or add not in fn.ops:
        return fn
    assert accumulating.gemm is not None
    assert accumulating.gemm.accumulate is not None
    count = Uses(fn, live_out).operand_count
    product = {n.outputs[0]: n for n in fn.nodes if n.op in multiplying and count[n.outputs[0]] == 1}
    owned = {n.outputs[0] for n in fn.nodes if (n.op is add or n.op in multiplying) and count[n.outputs[0]] == 1}
    gone: set[int] = set()
    nodes = []
    for node in fn.nodes:
        if node.op is add and node.inputs[1] in product and node.inputs[0] in owned and node.inputs[0] != node.inputs[1]:
            total, term = node.inputs
            if fn.specs[total] == fn.specs[term] == fn.specs[node.outputs[0]]:
                gone.add(term)
                inputs = with_factors(accumulating, *factors(product[term]), total)
                node = Node(node.name, accumulating, inputs, node.outputs, {}, node.location)
        nodes.append(node)
    return fn.with_nodes([n for n in nodes if n.outputs[0] not in gone])
