"""recompute_cheap: a large operand of two products, made by arithmetic from values that are kept anyway, is made again.

The second product is the one in the backward pass, which takes the operand transposed for the gradient of a weight. Between
the two nothing else needs the operand: `x̂ g + e` of a layer normalisation, say, whose backward pass reads x̂. To make it
again is one pass over memory, to keep it is its size for most of a step.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import is_expensive
from graphexec.ir.op_kinds import ElementwiseOp, ViewOp
from graphexec.ir.registry import registry

LARGE = 1 << 18
"""Bytes from which on a value is worth making again."""

MOST_NODES = 4
"""Nodes that may be done again for one value."""


def rematerialize_cheap(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order in which such an operand ends with its first product, and stands once more before the second."""
    lives = _Lives(fn, {*fn.kept, *keep})
    wanted = {p: found for p, node in enumerate(fn.nodes) if node.op.name == "matmul" and (found := lives.again(p, node))}
    if not wanted:
        return fn
    builder = FunctionBuilder(fn)
    for position, node in enumerate(fn.nodes):
        for slot, (path, nodes) in wanted.get(position, {}).items():
            node = _with_operand(builder, node, slot, path, nodes)
        builder.nodes.append(node)
    return builder.build(fn)


def _with_operand(builder: FunctionBuilder, reader: Node, slot: int, path: list[Node], nodes: list[Node]) -> Node:
    """The product with an operand made by ``nodes``, and by the views of ``path``, after its other operand is there."""
    token, after = reader.inputs[1 - slot], registry.get("control_dependency")
    renamed: dict[int, int] = {}
    for node in [*nodes, *path]:
        builder.source = node.source
        inputs = []
        for v in node.inputs:
            if v != ABSENT and v not in renamed and node in nodes:
                renamed[v] = builder.add(after, (v, token), {}, f"{builder.names[v]}.after").outputs[0]
            inputs.append(renamed.get(v, v))
        made = builder.add(node.op, tuple(inputs), node.attributes, f"{node.name}.again")
        renamed[node.outputs[0]] = made.outputs[0]
    inputs = list(reader.inputs)
    inputs[slot] = renamed[inputs[slot]]
    return reader.with_inputs(tuple(inputs))


class _Lives:
    """Who makes a value, and how long its memory is read."""

    def __init__(self, fn: Function, wanted: set[int]) -> None:
        self.fn, self.wanted = fn, wanted
        self.maker: dict[int, int] = {}
        self.base = list(range(len(fn.names)))
        self.readers: dict[int, list[int]] = {}
        self.changed: dict[int, int] = {}
        for position, node in enumerate(fn.nodes):
            for v in node.reads:
                if not isinstance(node.op, ViewOp):
                    self.readers.setdefault(self.base[v], []).append(position)
            for v in node.outputs:
                self.maker[v] = position
                if isinstance(node.op, ViewOp):
                    self.base[v] = self.base[node.inputs[0]]
            for name in node.op.updates:
                self.changed[self.base[node.inputs[node.op.inputs.index(name)]]] = position

    def again(self, position: int, node: Node) -> dict[int, tuple[list[Node], list[Node]]]:
        """For the operands of a product that are made again: the views that lead to it, and the nodes that make it."""
        found = {}
        for slot in (0, 1):
            value, token = self.base[node.inputs[slot]], self.base[node.inputs[1 - slot]]
            readers = self.readers.get(value, [])
            if (
                value not in self.wanted
                and self.fn.specs[value].nbytes >= LARGE
                and len(set(readers)) > 1
                and readers[-1] == position
                and self.maker.get(token, -1) > readers[-2] >= 0
                and any(self.fn.nodes[p].op.name == "matmul" for p in readers[:-1])
            ):
                nodes = self._recipe(value, position)
                if nodes and len(nodes) <= MOST_NODES:
                    found[slot] = (self._path(node.inputs[slot]), [self.fn.nodes[p] for p in sorted(nodes)])
        return found

    def _recipe(self, value: int, position: int) -> set[int] | None:
        """The nodes that make a value from what is there at a position anyway; None where dear ones would be needed."""
        if value not in self.maker:  # a leaf is there
            return None
        node = self.fn.nodes[self.maker[value]]
        if not isinstance(node.op, ElementwiseOp) or node.op.updates or is_expensive(node.op.function) or ABSENT in node.inputs:
            return None
        nodes = {self.maker[value]}
        for v in node.inputs:
            base = self.base[v]
            if base != v or (base in self.maker and self.readers[base][-1] <= position):
                further = self._recipe(v, position)
                if further is None or len(further) > MOST_NODES:
                    return None
                nodes |= further
            elif self.changed.get(base, position) < position:
                return None
        return nodes

    def _path(self, value: int) -> list[Node]:
        """The views from the memory of a value to the value."""
        path: list[Node] = []
        while self.base[value] != value:
            path.insert(0, self.fn.nodes[self.maker[value]])
            value = path[0].inputs[0]
        return path
