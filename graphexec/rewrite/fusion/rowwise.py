"""fuse_rows: makes one kernel of reductions along rows and the elementwise nodes before, between and after them.

Softmax, layer normalisation and their backward passes read a row, reduce it, and walk it again with the result. As separate
kernels they would pass every value between through memory. `scheduler` puts nodes over the same rows side by side, with the
views that broadcast a reduced value along its row again, so that connected parts are convex; each part with a reduction
becomes a `RowwiseOp`. The rest is left for `fuse`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from graphexec.abi import MAX_SHORT_ROW
from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import Function, Node
from graphexec.ir.fused.elementwise import is_expensive, no_function
from graphexec.ir.fused.rowwise import RowResult, RowwiseOp
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.keys import freeze
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ReductionOp, ViewOp
from graphexec.ir.spec import Size, TensorSpec, broadcast
from graphexec.ir.uses import Uses
from graphexec.rewrite.fusion.part_fusion import FusedPart, PartFusion
from graphexec.rewrite.fusion.row_groups import FLAT, FULL, SPREAD, Facts, RowGroup, reduces_rows, shape_key
from graphexec.rewrite.fusion.scheduler import MAX_OPERANDS, Part, Scheduler, connected_parts, within_budget

MAX_CHEAP_CALLS = 4
"""Cheap calls up to which short rows are not worth a kernel."""


def fuse_rows(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function with a node over rows in place of each connected part that reduces along the last axis."""
    reduced = {p for p, node in enumerate(fn.nodes) if isinstance(node.op, ReductionOp) and reduces_rows(fn, node, node.op)}
    if not reduced:
        return fn
    facts = Facts(fn, reduced)
    scheduler = _RowScheduler(fn, facts)
    parts = [part for run in scheduler.run() for part in connected_parts(fn, run, scheduler.followers)]
    fusion = _RowFusion(fn, Uses(fn, live_out), facts)
    made = [(part, fused) for part in parts if len(part) > 1 and (fused := fusion.build(part)) is not None]
    chosen = within_budget(fn, made, max_nodes=len(fn.nodes)).chosen
    return fusion.replace(parts, chosen) if chosen else fn


class _RowScheduler(Scheduler):
    """Makes runs of nodes over the same rows: those of a row's shape, and those that follow from the row's reductions."""

    def __init__(self, fn: Function, facts: Facts) -> None:
        super().__init__(fn, [None if shape is None else shape_key(shape) for shape in facts.walked])
        self.facts, self.walked = facts, facts.walked
        self.group: RowGroup | None = None
        self.queue: list[int] = []
        self.small: list[tuple[int, int]] = []

    def start(self, first: int) -> None:
        shape = self.walked[first]
        if shape is None:
            super().start(first)
            return
        self._start_smaller(TensorSpec(shape, "").size)
        self.group = RowGroup(self.fn, self.facts, shape)
        self.queue = self.beside.pop(self.keys[first])
        run: list[int] = []
        members: set[int] = set()
        refused: list[int] = []
        while self.queue:
            p = heapq.heappop(self.queue)
            if self.done[p]:
                continue
            if self.group.join(self.nodes[p]):
                self.take(p, run, members)
            elif self.walked[p] is not None:
                refused.append(p)
        self.group = None
        for p in refused:
            heapq.heappush(self.beside.setdefault(self.keys[p], []), p)
        self.runs.append(run)

    def _start_smaller(self, size: int) -> None:
        """Schedules ready nodes smaller than the run before it, since they may unblock nodes that the run can absorb."""
        while self.small and self.small[0][0] < size:
            _, p = heapq.heappop(self.small)
            if not self.done[p]:
                super().start(p)

    def wait(self, p: int) -> None:
        heapq.heappush(self.ready, p)
        if self.walked[p] is None and not self.nodes[p].op.updates:
            given = 0 if self.free[p] else sum(self.fn.specs[v].size for v in self.nodes[p].outputs)
            heapq.heappush(self.small, (given, p))
        if self.group is not None and (self.walked[p] is None or self.keys[p] in self.group.keys):
            heapq.heappush(self.queue, p)
        elif self.keys[p] is not None:
            heapq.heappush(self.beside.setdefault(self.keys[p], []), p)


def _pays(ops: Sequence[Op], n: int) -> bool:
    """Whether ops are worth a kernel over rows of ``n`` elements.

    Short rows are computed side by side, and loading their elements one by one costs more than a little arithmetic saves.
    """
    if len(ops) < 2:
        return False
    return isinstance(n, Size) or n > MAX_SHORT_ROW or len(ops) > MAX_CHEAP_CALLS or any(is_expensive(op.function) for op in ops)


class _Body(NamedTuple):
    """The calls of a part, the slots of the values that it loads and whether they are flat, and where each value comes from."""

    calls: list[BodyCall]
    slots: dict[tuple[int, bool], int]
    inside: dict[int, ScalarRef]


class _RowFusion(PartFusion[RowwiseOp]):
    def __init__(self, fn: Function, uses: Uses, facts: Facts) -> None:
        super().__init__(fn, uses)
        self.facts = facts

    def build(self, part: Part) -> FusedPart | None:
        """The node for a part; None where it has no reduction, or is cut so that it makes no sense alone."""
        nodes = [self.fn.nodes[p] for p in part]
        reduced = [n.inputs[0] for n in nodes if n.outputs[0] in self.facts.reduced]
        shape = self.fn.specs[reduced[0]].shape if reduced else ()
        if not reduced or not _pays([n.op for n in nodes if not isinstance(n.op, ViewOp)], shape[-1]):
            return None
        group = RowGroup(self.fn, self.facts, shape)
        if not all(group.join(n) for n in nodes):
            return None
        views, stored = self._stored(part)
        body = self._body(nodes, group.forms)
        if not stored or len(body.slots) > MAX_OPERANDS or not self._covers(body.slots, shape):
            return None
        results = tuple(RowResult(body.inside[v], FULL if group.forms[v] == SPREAD else group.forms[v]) for v in stored)
        return self._fused(body, results, stored, views)

    def _body(self, nodes: Sequence[Node], forms: Mapping[int, str]) -> _Body:
        inside: dict[int, ScalarRef] = {}
        slots: dict[tuple[int, bool], int] = {}
        calls: list[BodyCall] = []
        for node in nodes:
            if isinstance(node.op, ViewOp):
                inside[node.outputs[0]] = inside[node.inputs[0]]
                continue
            is_reduction = isinstance(node.op, ReductionOp)
            flat = not is_reduction and forms[node.outputs[0]] == FLAT
            arguments = []
            for v in node.inputs[:1] if is_reduction else node.inputs:
                if v not in inside:
                    slot = slots.setdefault((v, flat and self.fn.specs[v].ndim > 0), len(slots))
                arguments.append(inside[v] if v in inside else ScalarRef("operand", slot))
            inside.update({v: ScalarRef("call", len(calls), o) for o, v in enumerate(node.outputs)})
            calls.append(BodyCall(node.op, {} if is_reduction else node.attributes, tuple(arguments)))
        return _Body(calls, slots, inside)

    def _stored(self, part: Part) -> tuple[list[int], list[int]]:
        """Views of the part that others read, which stay nodes, and the values that must be stored."""
        here, views, stored = set(part), [], []  # type: set[int], list[int], list[int]
        for p in reversed(part):
            node = self.fn.nodes[p]
            read = [v for v in node.outputs if self.leaves(v, here)]
            if read and isinstance(node.op, ViewOp):
                here.discard(p)
                views.append(p)
            else:
                stored += reversed(read)
        return views[::-1], stored[::-1]

    def _covers(self, slots: Iterable[tuple[int, bool]], shape: tuple[int, ...]) -> bool:
        """Whether the operands alone broadcast to the shape over which the kernel iterates."""
        shapes = [(*self.fn.specs[v].shape, 1) if flat else self.fn.specs[v].shape for v, flat in slots]
        return bool(shape_key(broadcast(shapes)) == shape_key(shape))

    def _fused(self, body: _Body, results: tuple[RowResult, ...], stored: list[int], views: list[int]) -> FusedPart:
        flat = frozenset(k for (_, is_flat), k in body.slots.items() if is_flat)
        key = (tuple((c.op, freeze(c.attributes), c.arguments) for c in body.calls), len(body.slots), flat, results)
        if key not in self.ops:
            self.ops[key] = _rowwise_op(body.calls, len(body.slots), results, flat)
        return FusedPart(key, self.ops[key], tuple(v for v, _ in body.slots), tuple(stored), views)

    def put(self, builder: FunctionBuilder, part: Part, fused: FusedPart) -> None:
        """The node over rows, and after it the views that others read."""
        last = self.fn.nodes[part[-1]]
        builder.nodes.append(Node(self.fn.names[fused.outputs[-1]], fused.op, fused.inputs, fused.outputs, {}, last.location))
        builder.nodes += [self.fn.nodes[p] for p in fused.after]


def _rowwise_op(calls: Sequence[BodyCall], operands: int, results: tuple[RowResult, ...], flat: frozenset[int]) -> RowwiseOp:
    return RowwiseOp(
        name="rows", function=no_function, inputs=tuple(f"x{k}" for k in range(operands)),
        outputs=tuple(f"out{k}" for k in range(len(results))), kinds="fib", calls=tuple(calls), results=results, flat=flat,
        differentiable=False, doc=" ".join(c.op.name for c in calls),
    )  # fmt: skip
