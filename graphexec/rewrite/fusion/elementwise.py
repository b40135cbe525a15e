"""fuse: makes one kernel of connected elementwise nodes of one shape, with the full reductions that end them.

`scheduler` orders the nodes so that elementwise nodes of a shape follow one another as far as their operands allow. Values
that only their own part reads are never stored.

Each distinct part is a kernel to compile, so there is a budget: a graph of thousands of random small nodes keeps its few
plain kernels, while parts that repeat, or are large, are fused. Where large parts are too many and all different, shorter ones
are, which repeat: compilation takes a few seconds, however deep the graph is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import FusedClose, FusedOp, fused_op
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.keys import freeze
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp
from graphexec.ir.spec import TensorSpec
from graphexec.ir.uses import Uses
from graphexec.rewrite.fusion.part_fusion import FusedPart, PartFusion
from graphexec.rewrite.fusion.scheduler import (
    MAX_COMPILED_CALLS,
    MAX_NODES_OF_SMALL_GRAPH,
    MAX_OPERANDS,
    Part,
    Scheduler,
    connected_parts,
    iteration_shapes,
    within_budget,
)

SHORTER_PARTS = ((8, MAX_COMPILED_CALLS // 8), (3, MAX_COMPILED_CALLS // 8), (2, MAX_COMPILED_CALLS // 4))
"""Where all parts together would take too long to compile, long ones get half of the budget, and what is left over is cut shorter:
the calls of a part, and those of all kernels. Short parts repeat in any graph, pairs most of all."""


def fuse(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function with fused nodes in place of connected elementwise ones."""
    shapes = iteration_shapes(fn)
    scheduler = Scheduler(fn, shapes)
    parts = [part for run in scheduler.run() for part in connected_parts(fn, run, scheduler.followers)]
    fusion = _ElementwiseFusion(fn, Uses(fn, live_out), _closings(fn, parts, shapes))
    made = fusion.candidates(parts)
    choice = within_budget(fn, made, MAX_NODES_OF_SMALL_GRAPH)
    if not choice.beyond:
        return fusion.replace(parts, choice.chosen)
    choice = within_budget(fn, made, MAX_NODES_OF_SMALL_GRAPH, MAX_COMPILED_CALLS // 2)
    chosen = list(choice.chosen)
    for max_calls, budget in SHORTER_PARTS:
        beyond = {part[0]: connected_parts(fn, part, scheduler.followers, max_calls) for part in choice.beyond}
        parts = [short for part in parts for short in beyond.get(part[0], [part])]
        shorter = [short for some in beyond.values() for short in some]
        choice = within_budget(fn, fusion.candidates(shorter), MAX_NODES_OF_SMALL_GRAPH, budget)
        chosen += choice.chosen
    return fusion.replace(parts, chosen)


def _closings(fn: Function, parts: Sequence[Part], shapes: Sequence[Any]) -> dict[int, list[int]]:
    """Full reductions by the position of the node that makes what they reduce."""
    ops = {op for op in fn.ops if isinstance(op, ReductionOp) and not op.shape_only}
    full = [p for p, node in enumerate(fn.nodes) if node.op in ops and fn.specs[node.outputs[0]].shape == ()]
    closings: dict[int, list[int]] = {}
    if not full:
        return closings
    maker = {v: p for part in parts for p in part if shapes[p] is not None for v in fn.nodes[p].outputs}
    for position in full:
        value = fn.nodes[position].inputs[0]
        if value in maker:
            closings.setdefault(maker[value], []).append(position)
    return closings


class _Body(NamedTuple):
    """The calls of a part, the slots of the values that it loads, and where each value that it computes comes from."""

    calls: list[BodyCall]
    slots: dict[int, int]
    inside: dict[int, ScalarRef]


class _ElementwiseFusion(PartFusion[FusedOp]):
    def __init__(self, fn: Function, uses: Uses, closings: Mapping[int, Sequence[int]]) -> None:
        super().__init__(fn, uses)
        self.closings = closings

    def candidates(self, parts: Iterable[Part]) -> list[tuple[Part, FusedPart]]:
        """The parts that can be fused, each with its fused node."""
        return [(part, fused) for part in parts if (fused := self.build(part)) is not None]

    def build(self, part: Part) -> FusedPart | None:
        """The fused node for a part; None where it must stay as it is."""
        if len(part) == 1 and part[0] not in self.closings:
            return None
        nodes = [self.fn.nodes[p] for p in part]
        closing = [c for p in part for c in self.closings.get(p, ())]
        body = self._body(nodes)
        updated = [pair for node in nodes for pair in zip(node.outputs, node.update_targets, strict=False)]
        if len(body.slots) > MAX_OPERANDS or ABSENT in body.slots or self._hazard(body, [target for _, target in updated]):
            return None
        overwriting = [v for v, _ in updated]
        outputs = (*overwriting, *self._stores(body, {*part, *closing}, set(overwriting)))
        if not outputs and not closing:  # nothing reads it: dead code
            return None
        return self._fused(body, tuple(f"x{body.slots[target]}" for _, target in updated), outputs, closing)

    def _body(self, nodes: Sequence[Node]) -> _Body:
        inside = {v: ScalarRef("call", k, o) for k, n in enumerate(nodes) for o, v in enumerate(n.outputs)}
        slots: dict[int, int] = {}
        calls = []
        for node in nodes:
            arguments = []
            for value in node.inputs:
                known = inside.get(value)
                arguments.append(known or ScalarRef("operand", slots.setdefault(value, len(slots))))
            assert isinstance(node.op, ElementwiseOp)
            calls.append(BodyCall(node.op, node.attributes, tuple(arguments)))
        return _Body(calls, slots, inside)

    def _hazard(self, body: _Body, targets: Sequence[int]) -> bool:
        """Whether it would read, through another value, elements that it has overwritten, or overwrite what it never stores."""
        if not targets:
            return False
        if not body.inside.keys().isdisjoint(targets):
            return True
        base = self.uses.aliases.base
        named = {base(target): target for target in targets}
        return any(base(v) in named and v not in targets for v in body.slots)

    def _stores(self, body: _Body, here: set[int], overwriting: set[int]) -> list[int]:
        """The values that are live outside the part, apart from those that overwrite an operand."""
        return [v for v in body.inside if v not in overwriting and self.leaves(v, here)]

    def _fused(self, body: _Body, updates: tuple[str, ...], outputs: tuple[int, ...], closing: list[int]) -> FusedPart:
        ends = [self.fn.nodes[c] for c in closing]
        endings = tuple(FusedClose(end.op, body.inside[end.inputs[0]]) for end in ends if isinstance(end.op, ReductionOp))
        results = tuple(body.inside[v] for v in outputs)
        structure = tuple((c.op, freeze(c.attributes), c.arguments) for c in body.calls)
        key = (structure, len(body.slots), results, updates, endings)
        if key not in self.ops:
            self.ops[key] = fused_op(body.calls, len(body.slots), results, updates, endings)
        return FusedPart(key, self.ops[key], tuple(body.slots), outputs, closing)

    def put(self, builder: FunctionBuilder, part: Part, fused: FusedPart) -> None:
        """The fused node, and after it each full reduction, of the partial results that it gives for it."""
        ends = [self.fn.nodes[c] for c in fused.after]
        partials = []
        for end in ends:
            partials.append(len(builder.names))
            builder.names.append(builder.fresh(f"{end.name}.partial"))
            builder.specs.append(TensorSpec((1,), self.fn.specs[end.outputs[0]].dtype))
        outputs = (*fused.outputs, *partials)
        name = builder.names[fused.outputs[-1] if fused.outputs else partials[0]]
        builder.nodes.append(Node(name, fused.op, fused.inputs, outputs, {}, self.fn.nodes[part[-1]].location))
        for end, partial in zip(ends, partials, strict=True):
            builder.nodes.append(Node(end.name, end.op, (partial,), end.outputs, {"axis": None, "keepdims": False}, end.location))
