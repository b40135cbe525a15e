"""transpose_folding: rewrites (a @ b).T as b.T @ a.T, where nothing else reads the product.

A transposed factor costs nothing, since the product reads it through its strides; a transposed result would be read across
its rows by everything after it. The gradient of `linear`'s weight is such a product.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.op_kinds import ViewOp
from graphexec.ir.registry import registry
from graphexec.ir.traits import factors, products, with_factors
from graphexec.ir.uses import Uses
from graphexec.ir.view import NotAView, View


def transpose_folding(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function with such products computed the other way round."""
    multiplying = products(fn)
    views = {op for op in fn.ops if isinstance(op, ViewOp) and not op.ordered_after}
    if not multiplying or not views:
        return fn
    made = {n.outputs[0]: n for n in fn.nodes if n.op in multiplying}
    transposed = {n.inputs[0]: n for n in fn.nodes if n.op in views and n.inputs[0] in made and _transposes(fn, n)}
    if not transposed:
        return fn
    count = Uses(fn, live_out).operand_count
    transposed = {v: n for v, n in transposed.items() if count[v] == 1}
    done = {n.outputs[0] for n in transposed.values()}
    builder = FunctionBuilder(fn)
    for node in fn.nodes:
        if node.outputs[0] in transposed:
            continue
        builder.nodes.append(_folded(builder, node, made[node.inputs[0]]) if node.outputs[0] in done else node)
    return builder.build(fn)


def _folded(builder: FunctionBuilder, node: Node, product: Node) -> Node:
    """The transposition of a product as a product of transposed factors, whose views go before it."""
    a, b = factors(product)
    swap, last_two = registry.get("swap_axes"), {"axis1": -2, "axis2": -1}
    first, second = (builder.add(swap, (v,), last_two, f"{node.name}.factor").outputs[0] for v in (b, a))
    return Node(node.name, product.op, with_factors(product.op, first, second), node.outputs, {}, product.location)


def _transposes(fn: Function, node: Node) -> bool:
    """Whether a view swaps the last two axes and does nothing else."""
    assert isinstance(node.op, ViewOp)
    whole = View.contiguous(fn.specs[node.inputs[0]].shape)
    swapped = whole.permute([*range(whole.ndim - 2), whole.ndim - 1, whole.ndim - 2])
    try:
        return node.op.view(whole, [None if v == ABSENT else fn.specs[v] for v in node.inputs], node.attributes) == swapped
    except NotAView:
        return False
