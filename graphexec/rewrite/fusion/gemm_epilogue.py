"""gemm_epilogue: applies the elementwise node that is the only reader of a matrix product to each part of it as it is finished.

The product moves to the place of the node. It must still read the same values there: so nothing in between may overwrite its
operands, and neither may the node. And its operands must not live much longer: so little may be computed between their last
other reader and the node.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.gemm_epilogue import GemmEpilogueOp, gemm_epilogue_op
from graphexec.ir.keys import freeze
from graphexec.ir.op_kinds import ElementwiseOp, ShapeOp, ViewOp
from graphexec.ir.spec import Size
from graphexec.ir.traits import factors, is_product, products
from graphexec.ir.uses import Uses

MIN_COLUMNS = 16
"""Columns below which a row is too short for a loop of its own: the node does better on all rows as one."""

MIN_PRODUCT_SHARE = 4
"""How many times as large a product must be as all values that are computed while its operands live longer for it."""


def gemm_epilogue(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function with such pairs as one node."""
    multiplying = products(fn)
    if not multiplying:
        return fn
    uses = Uses(fn, live_out)
    matrix = ((p, n) for p, n in enumerate(fn.nodes) if n.op in multiplying and _is_matrix_product(fn, n))
    candidates = {n.outputs[0]: (p, n) for p, n in matrix if uses.read_count[n.outputs[0]] == 1}
    moves = _Moves(fn, uses)
    made: dict[Any, GemmEpilogueOp] = {}
    gone: set[int] = set()
    nodes = []
    for position, node in enumerate(fn.nodes):
        slot = _slot(fn, node, candidates) if isinstance(node.op, ElementwiseOp) else None
        if slot is not None:
            first, product = candidates[node.inputs[slot]]
            if uses.first_shape_use.get(node.inputs[slot], len(fn.nodes)) > position and moves.allowed(product, first, position):
                gone.add(first)
                node = _pair(product, node, slot, made)
        nodes.append(node)
    return fn.with_nodes([n for p, n in enumerate(nodes) if p not in gone]) if gone else fn


def _is_matrix_product(fn: Function, node: Node) -> bool:
    """Whether a product has no batch axes, and rows that are not too short."""
    shapes = [fn.specs[v].shape for v in (*node.inputs, *node.outputs)]
    columns = shapes[-1][-1]
    return all(len(s) == 2 for s in shapes) and (isinstance(columns, Size) or columns >= MIN_COLUMNS)


def _slot(fn: Function, node: Node, products: dict[int, tuple[int, Node]]) -> int | None:
    """The operand of an elementwise node that is a product of the shape of its results; the latest where there are several."""
    op = node.op
    if op.variadic or op.shape_only or ABSENT in node.inputs or (isinstance(op, FusedOp) and op.closings):
        return None
    found = [
        k for k, v in enumerate(node.inputs)
        if v in products and all(fn.specs[o].shape == fn.specs[v].shape for o in node.outputs)
    ]  # fmt: skip
    return max(found, key=lambda k: products[node.inputs[k]][0], default=None)


def _pair(product: Node, node: Node, slot: int, made: dict[Any, GemmEpilogueOp]) -> Node:
    assert is_product(product.op)
    assert isinstance(node.op, ElementwiseOp)
    key = (product.op, node.op, slot, freeze(node.attributes))
    if key not in made:
        made[key] = gemm_epilogue_op(product.op, node.op, slot, node.attributes)
    others = (*node.inputs[:slot], *node.inputs[slot + 1 :])
    inputs, outputs = (*factors(product), *others), (*node.outputs, *product.outputs)
    return Node(node.name, made[key], inputs, outputs, {}, node.location or product.location)


class _Moves:
    """Judges moves of products: what would overwrite their operands, and how much longer these would live."""

    def __init__(self, fn: Function, uses: Uses) -> None:
        self.fn, self.uses = fn, uses
        self.always_live = {*uses.live_out, *(leaf.value_id for leaf in fn.leaves)}
        self.elements = [0]
        """Before each node, the elements of all values computed so far."""
        for node in fn.nodes:
            free = isinstance(node.op, (ViewOp, ShapeOp))
            self.elements.append(self.elements[-1] + (0 if free else sum(int(fn.specs[v].size) for v in node.outputs)))

    def allowed(self, product: Node, first: int, last: int) -> bool:
        """Whether a product may move from position ``first`` to the node at ``last``."""
        longer = [self._computed_since_last_use(v, last) for v in product.inputs]
        if MIN_PRODUCT_SHARE * max(longer) > int(self.fn.specs[product.outputs[0]].size):
            return False
        return not any(self.uses.aliases.written_between(v, first, last) for v in product.inputs)

    def _computed_since_last_use(self, value: int, position: int) -> int:
        """The elements computed between the last use of a value and a position; 0 where the value lives longer anyway."""
        base = self.uses.aliases.base(value)
        last = self.uses.last_use(base)
        return 0 if base in self.always_live or last >= position else self.elements[position] - self.elements[last + 1]
