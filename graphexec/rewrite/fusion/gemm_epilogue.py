"""epilogue: an elementwise node that is the only reader of a matrix product is done to its parts as they are finished.

The product moves to where the node is. So that it still reads what it read, nothing in between may overwrite its operands,
and the node itself may not; and so that they are not kept for long, little may be computed between their last other reader
and the node.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.gemm_epilogue import GemmEpilogueOp, gemm_epilogue_op
from graphexec.ir.keys import freeze
from graphexec.ir.op_kinds import ElementwiseOp, KernelOp, ShapeOp, ViewOp
from graphexec.ir.spec import Size

NARROW = 16
"""Columns below which a row is too short to be worth a loop of its own: the node does better on all rows as one."""

LITTLE = 4
"""How many times what is computed while a product's operands are kept for it must go into the product."""


def gemm_epilogue(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with such pairs as one node."""
    if not fn.has("matmul"):
        return fn
    readers = _Readers(fn, keep)
    pairs = enumerate(fn.nodes)
    products = {n.outputs[0]: (p, n) for p, n in pairs if _is_matrix_product(fn, n) and readers.count[n.outputs[0]] == 1}
    history = _History(fn)
    made: dict[Any, GemmEpilogueOp] = {}
    gone: set[int] = set()
    nodes = []
    for position, node in enumerate(fn.nodes):
        slot = _slot(fn, node, products) if isinstance(node.op, ElementwiseOp) else None
        if slot is not None:
            first, product = products[node.inputs[slot]]
            if readers.lent[node.inputs[slot]] > position and history.moves(product, first, position):
                gone.add(first)
                node = _pair(product, node, slot, made)
        nodes.append(node)
    return fn.with_nodes([n for p, n in enumerate(nodes) if p not in gone]) if gone else fn


def _is_matrix_product(fn: Function, node: Node) -> bool:
    """Whether a node is a product without batch axes, whose rows are not too short."""
    if node.op.name != "matmul" or not isinstance(node.op, KernelOp):
        return False
    shapes = [fn.specs[v].shape for v in (*node.inputs, *node.outputs)]
    columns = shapes[-1][-1]
    return all(len(s) == 2 for s in shapes) and (isinstance(columns, Size) or columns >= NARROW)


def _slot(fn: Function, node: Node, products: dict[int, tuple[int, Node]]) -> int | None:
    """The operand of an elementwise node that is a product of the shape that the node walks, the last made of them."""
    op = node.op
    if op.variadic or op.shape_only or ABSENT in node.inputs or (isinstance(op, FusedOp) and op.closings):
        return None
    found = [
        k for k, v in enumerate(node.inputs)
        if v in products and all(fn.specs[o].shape == fn.specs[v].shape for o in node.outputs)
    ]  # fmt: skip
    return max(found, key=lambda k: products[node.inputs[k]][0], default=None)


def _pair(product: Node, node: Node, slot: int, made: dict[Any, GemmEpilogueOp]) -> Node:
    assert isinstance(product.op, KernelOp)
    assert isinstance(node.op, ElementwiseOp)
    key = (product.op, node.op, slot, freeze(node.attributes))
    if key not in made:
        made[key] = gemm_epilogue_op(product.op, node.op, slot, node.attributes)
    others = (*node.inputs[:slot], *node.inputs[slot + 1 :])
    inputs, outputs = (*product.inputs, *others), (*node.outputs, *product.outputs)
    return Node(node.name, made[key], inputs, outputs, {}, node.source or product.source)


class _Readers:
    """How often each value is read, what is kept counting twice; and where it first lends its shape, which is no reading."""

    def __init__(self, fn: Function, keep: Iterable[int]) -> None:
        self.count = [0] * len(fn.names)
        self.lent = [len(fn.nodes)] * len(fn.names)
        for position, node in enumerate(fn.nodes):
            for value in node.reads:
                self.count[value] += 1
            for value in set(node.inputs).difference(node.reads, (ABSENT,)):
                self.lent[value] = min(self.lent[value], position)
        for value in (*fn.kept, *keep):
            self.count[value] += 2


class _History:
    """Where each leaf is overwritten, where each value is read last, and how much is computed before each node."""

    def __init__(self, fn: Function) -> None:
        self.fn = fn
        self.root: dict[int, int] = {}
        self.updates: dict[int, list[int]] = {}
        self.elements = [0]
        self.last = {v: len(fn.nodes) for v in (*fn.kept, *(leaf.value_id for leaf in fn.leaves))}
        for position, node in enumerate(fn.nodes):
            made = 0
            if isinstance(node.op, ViewOp):
                self.root[node.outputs[0]] = self.root.get(node.inputs[0], node.inputs[0])
            elif not isinstance(node.op, ShapeOp):
                made = sum(int(fn.specs[v].size) for v in node.outputs)
            self.elements.append(self.elements[-1] + made)
            for value in node.reads:
                base = self.root.get(value, value)
                self.last[base] = max(self.last.get(base, 0), position)
            for name in node.op.updates:
                target = node.inputs[node.op.inputs.index(name)]
                self.updates.setdefault(self.root.get(target, target), []).append(position)

    def moves(self, product: Node, first: int, last: int) -> bool:
        """Whether a product may move from position ``first`` to the node at ``last``."""
        roots = {self.root.get(v, v) for v in product.inputs}
        longer = [self.elements[last] - self.elements[self.last[r] + 1] for r in roots if self.last[r] < last]
        if LITTLE * max(longer, default=0) > int(self.fn.specs[product.outputs[0]].size):
            return False
        return not any(first < p <= last for r in roots for p in self.updates.get(r, ()))
