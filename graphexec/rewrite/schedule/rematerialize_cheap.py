"""rematerialize_cheap: recomputes a large matmul operand for the backward pass, if cheap arithmetic on live values gives it.

The backward pass takes the operand again, transposed, for the gradient of a weight; between the two products nothing else
needs it: `x̂ g + e` of a layer normalisation, say, whose backward pass reads x̂. To recompute it takes one pass over memory;
to keep it takes its size for most of a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import is_expensive
from graphexec.ir.op_kinds import ElementwiseOp, ViewOp
from graphexec.ir.registry import registry
from graphexec.ir.traits import products
from graphexec.ir.uses import Uses

MIN_BYTES = 1 << 18
"""Bytes of the smallest value that is worth recomputing."""

MAX_RECOMPUTED_NODES = 4
"""Nodes that may be computed again for one value."""

Recipe = tuple[list[Node], list[Node]]
"""The views that lead to an operand, and the nodes that compute the value that they show."""


def rematerialize_cheap(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function in which such an operand dies with its first product, and is computed again before the second."""
    multiplying = products(fn)
    if not multiplying:
        return fn
    lives = _Lives(fn, live_out)
    wanted = {p: found for p, node in enumerate(fn.nodes) if node.op in multiplying and (found := lives.recipes(p, node))}
    if not wanted:
        return fn
    builder = FunctionBuilder(fn)
    for position, node in enumerate(fn.nodes):
        for slot, (path, nodes) in wanted.get(position, {}).items():
            node = _with_operand(builder, node, slot, path, nodes)
        builder.nodes.append(node)
    return builder.build(fn)


def _with_operand(builder: FunctionBuilder, reader: Node, slot: int, path: list[Node], nodes: list[Node]) -> Node:
    """The product with an operand that ``nodes`` compute, and the views of ``path``, after its other operand exists."""
    token, after = reader.inputs[1 - slot], registry.get("control_dependency")
    renamed: dict[int, int] = {}
    for node in [*nodes, *path]:
        builder.location = node.location
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
    """Which nodes make a value, and how long its memory is read."""

    def __init__(self, fn: Function, live_out: Iterable[int]) -> None:
        self.fn, self.uses, self.multiplying = fn, Uses(fn, live_out), products(fn)
        self.aliases = self.uses.aliases
        self._known: dict[int, list[int]] = {}

    def _readers(self, base: int) -> Sequence[int]:
        """The nodes that read the memory of a value, without views, which only pass it on."""
        if base not in self._known:
            readers = self.uses.memory_readers.get(base, ())
            self._known[base] = [p for p in readers if not isinstance(self.fn.nodes[p].op, ViewOp)]
        return self._known[base]

    def recipes(self, position: int, node: Node) -> dict[int, Recipe]:
        """For each operand of a product that is worth recomputing, by its slot."""
        found = {}
        for slot in (0, 1):
            value, other = (self.aliases.base(node.inputs[k]) for k in (slot, 1 - slot))
            if self._is_kept_for(position, value, other):
                nodes = self._recipe(value, position)
                if nodes and len(nodes) <= MAX_RECOMPUTED_NODES:
                    found[slot] = (self._path(node.inputs[slot]), [self.fn.nodes[p] for p in sorted(nodes)])
        return found

    def _is_kept_for(self, position: int, value: int, other: int) -> bool:
        """Whether a large value is kept for one last product, whose other operand is made after all its earlier readers."""
        if self.uses.producer[value] < 0 or value in self.uses.live_out or self.fn.specs[value].nbytes < MIN_BYTES:
            return False
        readers = self._readers(value)
        return (
            len(readers) > 1
            and readers[-1] == position
            and self.uses.producer[other] > readers[-2]
            and any(self.fn.nodes[p].op in self.multiplying for p in readers[:-1])
        )

    def _recipe(self, value: int, position: int) -> set[int] | None:
        """The nodes that compute a value from what is live at a position anyway; None where expensive ones would be needed."""
        made = self.uses.producer[value]
        if made < 0:  # a leaf is there
            return None
        node = self.fn.nodes[made]
        if not isinstance(node.op, ElementwiseOp) or node.op.updates or is_expensive(node.op.function) or ABSENT in node.inputs:
            return None
        nodes = {made}
        for v in node.inputs:
            base = self.aliases.base(v)
            if base != v or (self.uses.producer[base] >= 0 and self._readers(base)[-1] <= position):
                further = self._recipe(v, position)
                if further is None or len(further) > MAX_RECOMPUTED_NODES:
                    return None
                nodes |= further
            elif self.aliases.written_between(base, -1, position - 1):
                return None
        return nodes

    def _path(self, value: int) -> list[Node]:
        """The views that lead from the value that owns the memory to a value."""
        path: list[Node] = []
        while self.aliases.shown(value) != value:
            path.insert(0, self.fn.nodes[self.uses.producer[value]])
            value = path[0].inputs[0]
        return path
