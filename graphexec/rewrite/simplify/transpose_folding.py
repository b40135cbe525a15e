"""turned_products: a transposed product is the product of the transposed factors, the other way round: (a b)ᵀ = bᵀ aᵀ.

Transposing a factor costs nothing, it is read through its strides; a product that is needed transposed would be read
across its rows by everything after it. The gradient of `linear`'s weight is one.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import Function, Node
from graphexec.ir.registry import registry
from graphexec.rewrite.simplify.gemm_accumulate import readers_of


def transpose_folding(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with such products computed the other way round, where nothing else reads them."""
    if not fn.has("matmul"):
        return fn
    products = {n.outputs[0]: n for n in fn.nodes if n.op.name == "matmul"}
    turned = {n.inputs[0]: n for n in fn.nodes if n.inputs[0] in products and _turns(fn, n)}
    if not turned:
        return fn
    readers = readers_of(fn, keep)
    turned = {v: n for v, n in turned.items() if readers[v] == 1}
    done = {n.outputs[0] for n in turned.values()}
    builder, swap = FunctionBuilder(fn), registry.get("swap_axes")
    for node in fn.nodes:
        if node.outputs[0] in turned:
            continue
        if node.outputs[0] in done:
            product = products[node.inputs[0]]
            swapped = [builder.add(swap, (v,), {"axis1": -2, "axis2": -1}, f"{node.name}.factor") for v in reversed(product.inputs)]
            factors = tuple(n.outputs[0] for n in swapped)
            node = Node(node.name, product.op, factors, node.outputs, {}, product.source)
        builder.nodes.append(node)
    return builder.build(fn)


def _turns(fn: Function, node: Node) -> bool:
    """Whether a node swaps the last two axes and nothing else."""
    ndim = fn.specs[node.inputs[0]].ndim
    if node.op.name == "transpose":
        axes = node.attributes["axes"]
        return ndim == 2 and (axes is None or [a % 2 for a in axes] == [1, 0])
    if node.op.name != "swap_axes":
        return False
    return {node.attributes["axis1"] % ndim, node.attributes["axis2"] % ndim} == {ndim - 2, ndim - 1}
