"""rows: reductions along rows become one kernel with the elementwise nodes before, between and after them.

A softmax, a layer normalisation, their backward passes: each reads a row, reduces it, and goes over it again with what it has
found. As separate kernels every value between travels through memory. Here nodes over the same rows are put side by side as `fuse`
does it, so that connected parts are convex, with the views that lay a reduced value beside its row again; parts with a reduction
become a `RowsOp`. What is left is for `fuse`.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence, Set
from typing import Any

from graphexec.abi import SHORT_ROW
from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import RowResult, RowwiseOp, is_expensive
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.keys import freeze, shape_keys, spec_key
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp, ViewOp
from graphexec.ir.spec import Size, TensorSpec, broadcast, is_one
from graphexec.ir.view import NotAView, View
from graphexec.rewrite.fusion.elementwise import MOST_OPERANDS, Part, _no_function, _parts, _Schedule, _shapes, _within_budget

LITTLE = 4
"""Cheap steps up to which short rows are not worth a kernel."""

FULL, COLUMN, FLAT, SPREAD = "full", "column", "flat", "spread"
"""How a value lies over rows (rows..., n): one an element; one a row as (rows..., 1), as (rows...), or a view of all."""


def fuse_rows(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with a node over rows in place of each connected part with a reduction along the last axis."""
    reduced = {p for p, node in enumerate(fn.nodes) if isinstance(node.op, ReductionOp) and _reduces_rows(fn, node, node.op)}
    if not reduced:
        return fn
    facts = _Facts(fn, reduced)
    wanted = {*fn.kept, *keep}
    schedule = _RowSchedule(fn, facts)
    parts = [part for run in schedule.runs for part in _parts(fn, run, schedule.followers)]
    fusion = _Fusion(fn, facts, wanted)
    made = [(part, fusion.build(part)) for part in parts if len(part) > 1]
    chosen = _within_budget(fn, [(p, m) for p, m in made if m is not None], large=len(fn.nodes))
    return fusion.replace(parts, chosen) if chosen else fn


def _is_plain(node: Node) -> bool:
    op = node.op
    return isinstance(op, ElementwiseOp) and not (op.variadic or op.optional or op.shape_only or op.updates)


def _reduces_rows(fn: Function, node: Node, op: ReductionOp) -> bool:
    """Whether it reduces along the last of several axes, and along no other."""
    x = fn.specs[node.inputs[0]]
    if x.ndim < 2 or is_one(x.shape[-1]):
        return False
    return op.axes([fn.specs[v] for v in node.inputs], node.attributes) == (x.ndim - 1,)


class _Facts:
    """What is asked again and again: keys of shapes by value, and which nodes reduce rows or could stand beside them."""

    def __init__(self, fn: Function, reduced: Collection[int]) -> None:
        """``reduced`` has the positions of the nodes that reduce rows."""
        self.keys = shape_keys(fn.specs)
        self.reduced = {fn.nodes[p].outputs[0] for p in reduced}
        seeds = {self.keys[fn.nodes[p].inputs[0]] for p in reduced}
        self.walked: list[tuple[int, ...] | None] = []
        """For each node the shape of its rows; None where there are none."""
        for p, node in enumerate(fn.nodes):
            value = node.inputs[0] if p in reduced else node.outputs[0] if _is_plain(node) else ABSENT
            self.walked.append(fn.specs[value].shape if value != ABSENT and self.keys[value] in seeds else None)


def _shape_key(shape: Sequence[int]) -> Any:
    return spec_key(TensorSpec(tuple(shape), ""))[1:]


class _Group:
    """Nodes over the same rows, and how their values lie."""

    def __init__(self, fn: Function, facts: _Facts, shape: tuple[int, ...]) -> None:
        self.fn, self.facts, self.shape = fn, facts, shape
        self.keys = {_shape_key(shape): FULL, _shape_key((*shape[:-1], 1)): COLUMN, _shape_key(shape[:-1]): FLAT}
        self.forms: dict[int, str] = {}

    def join(self, node: Node) -> bool:
        """Takes a node in, if it is one over these rows."""
        form = self._form(node)
        if form is not None:
            self.forms.update(dict.fromkeys(node.outputs, form))
        return form is not None

    def _form(self, node: Node) -> str | None:
        out = self.keys.get(self.facts.keys[node.outputs[0]])
        if out is None or ABSENT in node.inputs:
            return None
        if isinstance(node.op, ViewOp):
            return self._seen(node, out)
        if isinstance(node.op, ReductionOp):
            fits = node.outputs[0] in self.facts.reduced and self.keys.get(self.facts.keys[node.inputs[0]]) == FULL
            return out if fits and self.forms.get(node.inputs[0], FULL) == FULL else None
        if not _is_plain(node):
            return None
        inside = {self.forms[v] for v in node.inputs if v in self.forms}
        if out != FULL:
            return out if inside == {out} else None
        if FLAT in inside:
            return None
        return FULL if FULL in inside or any(self._moves(v) for v in node.inputs if v not in self.forms) else SPREAD

    def _moves(self, value: int) -> bool:
        """Whether an operand from outside has more than one element a row."""
        shape = self.fn.specs[value].shape
        return bool(shape) and not is_one(shape[-1])

    def _seen(self, node: Node, out: str) -> str | None:
        """A view that lays one element a row beside its row, or gives or takes the last axis."""
        form = self.forms.get(node.inputs[0])
        if form not in (COLUMN, FLAT) or not isinstance(node.op, ViewOp) or node.op.ordered_after:
            return None
        rows = View.contiguous(self.shape[:-1])
        source = rows.insert(rows.ndim) if form == COLUMN else rows
        try:
            view = node.op.view(source, [self.fn.specs[v] for v in node.inputs], node.attributes)
        except NotAView:
            return None
        expected = rows if out == FLAT else rows.insert(rows.ndim)
        if out == FULL:
            expected = expected.broadcast(self.shape)
        same = all(a == b or n == 1 for a, b, n in zip(view.strides, expected.strides, view.shape, strict=True))
        return (SPREAD if out == FULL else out) if same and view.offset == 0 else None


class _RowSchedule(_Schedule):
    """Runs of nodes over the same rows: what has a row's shape, and what follows from the row's reductions."""

    def __init__(self, fn: Function, facts: _Facts) -> None:
        self.fn, self.facts, self.walked = fn, facts, facts.walked
        self.group: _Group | None = None
        self.queue: list[int] = []
        self.small: list[tuple[int, int]] = []
        super().__init__(fn, [None if s is None else _shape_key(s) for s in facts.walked], _shapes(fn))

    def _run(self, first: int) -> None:
        shape = self.walked[first]
        if shape is None:
            super()._run(first)
            return
        self._prepare(TensorSpec(shape, "").size)
        self.group = _Group(self.fn, self.facts, shape)
        self.queue = self.beside.pop(self.shapes[first])
        run: list[int] = []
        members: set[int] = set()
        refused: list[int] = []
        while self.queue:
            p = heapq.heappop(self.queue)
            if self.done[p]:
                continue
            if self.group.join(self.nodes[p]):
                self.done[p] = 1
                run.append(p)
                members.add(p)
                self._release(p, members)
            elif self.walked[p] is not None:
                refused.append(p)
        self.group = None
        for p in refused:
            heapq.heappush(self.beside.setdefault(self.shapes[p], []), p)
        self.runs.append(run)

    def _prepare(self, size: int) -> None:
        """What is ready and gives fewer elements than a run walks goes before it: the run may read it, or find more to take in."""
        while self.small and self.small[0][0] < size:
            _, p = heapq.heappop(self.small)
            if not self.done[p]:
                super()._run(p)

    def _wait(self, p: int) -> None:
        heapq.heappush(self.ready, p)
        if self.walked[p] is None and not self.nodes[p].op.updates:
            given = 0 if self.free[p] else sum(self.fn.specs[v].size for v in self.nodes[p].outputs)
            heapq.heappush(self.small, (given, p))
        if self.group is not None and (self.walked[p] is None or self.shapes[p] in self.group.keys):
            heapq.heappush(self.queue, p)
        elif self.shapes[p] is not None:
            heapq.heappush(self.beside.setdefault(self.shapes[p], []), p)


def _pays(ops: Sequence[Op], n: int) -> bool:
    """Whether ops are worth a kernel over rows.

    Short rows stand side by side, and to fetch their elements one by one costs more than a little arithmetic saves.
    """
    if len(ops) < 2:
        return False
    return isinstance(n, Size) or n > SHORT_ROW or len(ops) > LITTLE or any(is_expensive(op.function) for op in ops)


class _Made:
    """A node over rows for a part, with its operands and results as value numbers, and the views that others still want."""

    __slots__ = ("inputs", "key", "op", "outputs", "views")

    def __init__(self, key: Any, op: RowwiseOp, inputs: list[int], outputs: list[int], views: list[int]) -> None:
        self.key, self.op, self.inputs, self.outputs, self.views = key, op, inputs, outputs, views


class _Fusion:
    def __init__(self, fn: Function, facts: _Facts, wanted: Set[int]) -> None:
        self.fn, self.facts, self.wanted = fn, facts, wanted
        self.consumers: dict[int, list[int]] = {}
        for position, node in enumerate(fn.nodes):
            for value in node.inputs:
                self.consumers.setdefault(value, []).append(position)
        self.ops: dict[Any, RowwiseOp] = {}

    def build(self, part: Part) -> _Made | None:
        """The node for a part; none where it has no reduction, or is cut so that it makes no sense alone."""
        nodes = [self.fn.nodes[p] for p in part]
        reduced = [n.inputs[0] for n in nodes if n.outputs[0] in self.facts.reduced]
        shape = self.fn.specs[reduced[0]].shape if reduced else ()
        if not reduced or not _pays([n.op for n in nodes if not isinstance(n.op, ViewOp)], shape[-1]):
            return None
        group = _Group(self.fn, self.facts, shape)
        if not all(group.join(n) for n in nodes):
            return None
        views, stored = self._stored(part)
        inside: dict[int, ScalarRef] = {}
        slots: dict[tuple[int, bool], int] = {}
        calls: list[BodyCall] = []
        for node in nodes:
            if isinstance(node.op, ViewOp):
                inside[node.outputs[0]] = inside[node.inputs[0]]
                continue
            operands = node.inputs[:1] if isinstance(node.op, ReductionOp) else node.inputs
            flat = not isinstance(node.op, ReductionOp) and group.forms[node.outputs[0]] == FLAT
            arguments = []
            for v in operands:
                if v not in inside:
                    slot = slots.setdefault((v, flat and self.fn.specs[v].ndim > 0), len(slots))
                arguments.append(inside[v] if v in inside else ScalarRef("operand", slot))
            inside.update({v: ScalarRef("call", len(calls), o) for o, v in enumerate(node.outputs)})
            attributes = {} if isinstance(node.op, ReductionOp) else node.attributes
            calls.append(BodyCall(node.op, attributes, tuple(arguments)))
        if not stored or len(slots) > MOST_OPERANDS or not self._covers(slots, shape):
            return None
        results = tuple(RowResult(inside[v], FULL if group.forms[v] == SPREAD else group.forms[v]) for v in stored)
        return self._made(calls, slots, results, stored, views)

    def _stored(self, part: Part) -> tuple[list[int], list[int]]:
        """Views of the part that others read, and the values that must be stored."""
        here, views, stored = set(part), [], []  # type: set[int], list[int], list[int]
        for p in reversed(part):
            node = self.fn.nodes[p]
            read = [v for v in node.outputs if v in self.wanted or any(c not in here for c in self.consumers.get(v, ()))]
            if read and isinstance(node.op, ViewOp):
                here.discard(p)
                views.append(p)
            else:
                stored += reversed(read)
        return views[::-1], stored[::-1]

    def _covers(self, slots: Iterable[tuple[int, bool]], shape: tuple[int, ...]) -> bool:
        """Whether the operands alone give the shape that is walked."""
        shapes = [(*self.fn.specs[v].shape, 1) if flat else self.fn.specs[v].shape for v, flat in slots]
        return bool(_shape_key(broadcast(shapes)) == _shape_key(shape))

    def _made(
        self, calls: Sequence[BodyCall], slots: dict[tuple[int, bool], int], results: tuple[RowResult, ...], stored: list[int],
        views: list[int],
    ) -> _Made:  # fmt: skip
        flat = frozenset(k for (_, is_flat), k in slots.items() if is_flat)
        key = (tuple((c.op, freeze(c.attributes), c.arguments) for c in calls), len(slots), flat, results)
        if key not in self.ops:
            self.ops[key] = RowwiseOp(
                name="rows", function=_no_function, inputs=tuple(f"x{k}" for k in range(len(slots))),
                outputs=tuple(f"out{k}" for k in range(len(results))), kinds="fib", calls=tuple(calls), results=results, flat=flat,
                differentiable=False, doc=" ".join(c.op.name for c in calls),
            )  # fmt: skip
        return _Made(key, self.ops[key], [v for v, _ in slots], stored, views)

    def replace(self, parts: Sequence[Part], chosen: Sequence[tuple[Part, _Made]]) -> Function:
        """The order with the chosen parts replaced."""
        fn, builder = self.fn, FunctionBuilder(self.fn)
        made = {part[0]: m for part, m in chosen}
        for part in parts:
            m = made.get(part[0])
            if m is None:
                builder.nodes += [fn.nodes[p] for p in part]
                continue
            last = fn.nodes[part[-1]]
            builder.nodes.append(Node(fn.names[m.outputs[-1]], m.op, tuple(m.inputs), tuple(m.outputs), {}, last.source))
            builder.nodes += [fn.nodes[p] for p in m.views]
        return builder.build(fn)
