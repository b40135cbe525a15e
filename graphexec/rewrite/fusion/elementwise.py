"""fuse: elementwise nodes of one shape become one kernel, with the sums that close them.

Nodes are put into an order in which elementwise nodes of a shape follow one another as far as their operands allow. Any
run of an order is convex, no path leaves it and returns, so its connected parts can be fused as they are; all of
this takes one walk. Values that only the part itself reads are never stored.

Each distinct part is a kernel to compile, so there is a budget: a graph of thousands of random small nodes keeps its
few plain kernels, while what repeats, or is large, is fused.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import Any, Protocol, TypeVar

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import FusedClose, FusedOp
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.keys import freeze, shape_keys
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp, ShapeOp, ViewOp
from graphexec.ir.spec import TensorSpec

MOST_CALLS = 96
MOST_OPERANDS = 16
BUDGET = 24
"""Distinct fused kernels that a graph that is not large may have whatever they save."""
LARGE = 1_000
"""Nodes from which on a graph has no such allowance: its plain kernels serve many nodes each."""
WORTH = 200_000
"""Elements that a further fused kernel must keep out of memory in a run to be worth its compilation."""

Part = list[int]
"""Positions of nodes that become one."""


def fuse(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with fused nodes in place of connected elementwise ones."""
    wanted = {*fn.kept, *keep}
    shapes = _shapes(fn)
    schedule = _Schedule(fn, shapes, shapes)
    parts = [part for run in schedule.runs for part in _parts(fn, run, schedule.followers)]
    fusion = _Fusion(fn, wanted, _closings(fn, parts, shapes))
    made = [fusion.build(part) for part in parts]
    chosen = _within_budget(fn, [(p, m) for p, m in zip(parts, made, strict=True) if m is not None])
    return fusion.replace(parts, chosen)


# -- the order in which nodes that can be fused stand together


class _Schedule:
    """A list scheduler: the next run starts at the first node that is ready and takes in whatever becomes ready for it."""

    def __init__(self, fn: Function, shapes: Sequence[Any], plain: Sequence[Any]) -> None:
        """``shapes`` has, for each node, the key of those that may stand beside it, None where it stands alone; ``plain`` what
        :func:`_shapes` gives."""
        nodes = fn.nodes
        self.waiting, self.followers = _dependencies(fn)
        self.shapes = shapes
        self.free = [isinstance(n.op, (ViewOp, ShapeOp)) or plain[p] == () for p, n in enumerate(nodes)]
        self.producer = {v: p for p, n in enumerate(nodes) for v in n.outputs}
        self.nodes, self.runs = nodes, []  # type: list[Node], list[list[int]]
        self.ready: list[int] = []
        self.beside: dict[Any, list[int]] = {}
        self.done = bytearray(len(nodes))
        for p, n in enumerate(self.waiting):
            if n == 0 and not self.done[p]:
                self._is_ready(p, frozenset())
        while self.ready:
            first = heapq.heappop(self.ready)
            if not self.done[first]:
                self._run(first)

    def _run(self, first: int) -> None:
        shape = self.shapes[first]
        queue = self.beside[shape] if shape is not None else [first]
        run: list[int] = []
        members: set[int] = set()
        while queue:
            p = heapq.heappop(queue)
            if not self.done[p]:
                self.done[p] = 1
                run.append(p)
                members.add(p)
                self._release(p, members)
        self.runs.append(run)

    def _release(self, p: int, members: Set[int]) -> None:
        for f in self.followers[p]:
            self.waiting[f] -= 1
            if self.waiting[f] == 0:
                self._is_ready(f, members)

    def _is_ready(self, p: int, members: Set[int]) -> None:
        """A view or a number costs nothing, and stands before the run that is being made if it reads nothing of it."""
        if not self.free[p]:
            self._wait(p)
            return
        stack = [p]
        while stack:
            p = stack.pop()
            if self.free[p] and not any(self.producer.get(v) in members for v in self.nodes[p].inputs):
                self.done[p] = 1
                self.runs.append([p])
                for f in self.followers[p]:
                    self.waiting[f] -= 1
                    if self.waiting[f] == 0:
                        stack.append(f)
                continue
            self._wait(p)

    def _wait(self, p: int) -> None:
        heapq.heappush(self.ready, p)
        if self.shapes[p] is not None:
            heapq.heappush(self.beside.setdefault(self.shapes[p], []), p)


def _dependencies(fn: Function) -> tuple[list[int], list[list[int]]]:
    """How many nodes each waits for, and which wait for it. An update waits for all who read what it overwrites."""
    producer = [-1] * (len(fn.names) + 1)  # one more, for ABSENT
    waiting = [0] * len(fn.nodes)
    followers: list[list[int]] = [[] for _ in fn.nodes]
    for position, node in enumerate(fn.nodes):
        for value in set(node.inputs):
            made = producer[value]
            if made >= 0:
                followers[made].append(position)
                waiting[position] += 1
        for value in node.outputs:
            producer[value] = position
    if any(op.updates for op in fn.ops):
        _wait_for_readers(fn, waiting, followers)
    return waiting, followers


def _wait_for_readers(fn: Function, waiting: list[int], followers: list[list[int]]) -> None:
    root: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    for position, node in enumerate(fn.nodes):
        for value in node.reads:
            readers.setdefault(root.get(value, value), []).append(position)
        if isinstance(node.op, ViewOp):
            root[node.outputs[0]] = root.get(node.inputs[0], node.inputs[0])
    for position, node in enumerate(fn.nodes):
        for name in node.op.updates:
            target = node.inputs[node.op.inputs.index(name)]
            for reader in set(readers.get(root.get(target, target), ())):
                if reader != position:
                    followers[reader].append(position)
                    waiting[position] += 1


def _shapes(fn: Function) -> list[Any]:
    """For each node the key of its iteration shape; None where it cannot be fused."""
    keys = shape_keys(fn.specs)
    fit = {op for op in fn.ops if isinstance(op, ElementwiseOp) and not (op.variadic or op.optional or op.shape_only)}
    return [keys[node.outputs[0]] if node.op in fit else None for node in fn.nodes]


# -- what is fused


def _parts(fn: Function, run: Sequence[int], followers: Sequence[Sequence[int]]) -> list[Part]:
    """Connected parts of a run, each after those that it waits for, cut where they would grow too large.

    What reads a parameter and what updates it are connected too: apart, neither could go first.
    """
    if len(run) == 1:
        return [list(run)]
    at = {p: k for k, p in enumerate(run)}
    waits_for: list[list[int]] = [[] for _ in run]
    for k, p in enumerate(run):
        for f in followers[p]:
            if f in at:
                waits_for[at[f]].append(k)
    parent = list(range(len(run)))

    def find(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    size, operands = [1] * len(run), [set(fn.nodes[p].inputs) for p in run]
    for k, before in enumerate(waits_for):
        for j in before:
            a, b = find(j), find(k)
            calls = size[a] + size[b]
            if a == b or calls > MOST_CALLS:
                continue
            more = operands[b] - operands[a]
            if len(operands[a]) + len(more) <= MOST_OPERANDS + calls:
                parent[b] = a
                size[a] = calls
                operands[a] |= more
    roots = [find(k) for k in range(len(run))]
    groups: dict[int, Part] = {}
    for root, p in zip(roots, run, strict=True):
        groups.setdefault(root, []).append(p)
    number = {root: g for g, root in enumerate(groups)}
    member = [number[root] for root in roots]
    waiting_for: list[set[int]] = [set() for _ in groups]
    for g, before in zip(member, waits_for, strict=True):
        waiting_for[g].update([member[j] for j in before])
    return _in_order(list(groups.values()), waiting_for) or [[p] for p in run]


def _in_order(groups: list[Part], waits_for: Sequence[Iterable[int]]) -> list[Part]:
    """Groups after those that they wait for; none where groups cut for their size wait for one another in a circle."""
    readers: list[list[int]] = [[] for _ in groups]
    waiting = [0] * len(groups)
    for reader, sources in enumerate(waits_for):
        for source in sources:
            if source != reader:
                readers[source].append(reader)
                waiting[reader] += 1
    ordered = [g for g, n in enumerate(waiting) if n == 0]
    for g in ordered:  # grows while it is read
        for r in readers[g]:
            waiting[r] -= 1
            if waiting[r] == 0:
                ordered.append(r)
    return [groups[g] for g in ordered] if len(ordered) == len(groups) else []


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


class _Keyed(Protocol):
    """What takes the place of a part, with the key of its kernel."""

    key: Any


_Candidate = TypeVar("_Candidate", bound=_Keyed)


def _within_budget(
    fn: Function, made: list[tuple[Part, _Candidate]], *, large: int | None = None
) -> list[tuple[Part, _Candidate]]:
    """All of them where they are few; else those that keep most out of memory. ``large`` takes the place of LARGE."""
    saved: Counter[Any] = Counter()
    for part, fused in made:
        saved[fused.key] += sum(min(fn.specs[fn.nodes[p].outputs[0]].size, 1 << 24) for p in part) + 16 * len(part)
    ranked = [key for key, _ in saved.most_common()]
    small = len(fn.nodes) <= (LARGE if large is None else large) and len(ranked) <= 2 * BUDGET
    allowed = {key for k, key in enumerate(ranked) if (small and k < BUDGET) or saved[key] >= WORTH}
    return [(part, fused) for part, fused in made if fused.key in allowed]


class _Made:
    """A fused op for a part, with its operands and results as value numbers."""

    __slots__ = ("closing", "inputs", "key", "op", "outputs")

    def __init__(self, key: Any, op: FusedOp, inputs: list[int], outputs: list[int], closing: list[int]) -> None:
        self.key, self.op, self.inputs, self.outputs, self.closing = key, op, inputs, outputs, closing


class _Fusion:
    def __init__(self, fn: Function, wanted: set[int], closings: dict[int, list[int]]) -> None:
        self.fn, self.wanted, self.closings = fn, wanted, closings
        self.consumers: dict[int, list[int]] = {}
        for position, node in enumerate(fn.nodes):
            for value in node.inputs:
                self.consumers.setdefault(value, []).append(position)
        self.ops: dict[Any, FusedOp] = {}
        self.views: dict[int, int] = {}
        views = {op for op in fn.ops if isinstance(op, ViewOp)}
        for node in fn.nodes if views else ():
            if node.op in views:
                self.views[node.outputs[0]] = self.views.get(node.inputs[0], node.inputs[0])

    def build(self, part: Part) -> _Made | None:
        if len(part) == 1 and part[0] not in self.closings:
            return None
        nodes = [self.fn.nodes[p] for p in part]
        closing = [c for p in part for c in self.closings.get(p, ())]
        inside = {v: ScalarRef("call", k, o) for k, n in enumerate(nodes) for o, v in enumerate(n.outputs)}
        inputs: list[int] = []
        slots: dict[int, int] = {}
        calls = []
        for node in nodes:
            arguments = []
            for value in node.inputs:
                if value not in inside and value not in slots:
                    slots[value] = len(inputs)
                    inputs.append(value)
                arguments.append(inside[value] if value in inside else ScalarRef("operand", slots[value]))
            assert isinstance(node.op, ElementwiseOp)
            calls.append(BodyCall(node.op, node.attributes, tuple(arguments)))
        if len(inputs) > MOST_OPERANDS or ABSENT in inputs:
            return None
        here = {*part, *closing}
        updated = [
            (v, node.inputs[node.op.inputs.index(u)]) for node in nodes for v, u in zip(node.outputs, node.op.updates, strict=False)
        ]
        over = {v for v, _ in updated}
        targets = {target for _, target in updated}
        if any(self.views.get(v) in targets for v in inputs) or not targets.isdisjoint(inside):
            return None  # it would read elements that it has overwritten, or write over a value that it does not store
        stored = [
            v for v in inside if v not in over and (v in self.wanted or any(c not in here for c in self.consumers.get(v, ())))
        ]
        outputs = [v for v, _ in updated] + stored
        if not outputs and not closing:  # nobody reads it: `prune` takes it out next time
            return None
        updates = tuple(f"x{slots[target]}" for _, target in updated)
        endings = tuple(FusedClose(self.fn.nodes[c].op, inside[self.fn.nodes[c].inputs[0]]) for c in closing)  # type: ignore[arg-type]
        results = tuple(inside[v] for v in outputs)
        key = (tuple((c.op, freeze(c.attributes), c.arguments) for c in calls), len(inputs), results, updates, endings)
        if key not in self.ops:
            self.ops[key] = _fused_op(calls, len(inputs), results, updates, endings)
        return _Made(key, self.ops[key], inputs, outputs, closing)

    def replace(self, parts: Sequence[Part], chosen: Sequence[tuple[Part, _Made]]) -> Function:
        """The order with the chosen parts replaced; a sum that closes a part follows it at once."""
        fn = self.fn
        if not chosen:
            return fn.with_nodes([fn.nodes[p] for part in parts for p in part])
        fused = {part[0]: made for part, made in chosen}
        gone = {c for _, made in chosen for c in made.closing}
        builder = FunctionBuilder(fn)
        for part in parts:
            if part[0] in fused:
                self._put(builder, part, fused[part[0]])
            else:
                builder.nodes += [fn.nodes[p] for p in part if p not in gone]
        return builder.build(fn)

    def _put(self, builder: FunctionBuilder, part: Part, made: _Made) -> None:
        fn = self.fn
        last = fn.nodes[part[-1]]
        partials = []
        for close in made.closing:
            node = fn.nodes[close]
            partials.append(len(builder.names))
            builder.names.append(builder.fresh(f"{node.name}.partial"))
            builder.specs.append(TensorSpec((1,), fn.specs[node.outputs[0]].dtype))
        name = builder.names[made.outputs[-1]] if made.outputs else builder.names[partials[0]]
        builder.nodes.append(Node(name, made.op, tuple(made.inputs), (*made.outputs, *partials), {}, last.source))
        for close, partial in zip(made.closing, partials, strict=True):
            node = fn.nodes[close]
            builder.nodes.append(Node(node.name, node.op, (partial,), node.outputs, {"axis": None, "keepdims": False}, node.source))


def _fused_op(
    calls: Sequence[BodyCall], operands: int, results: tuple[ScalarRef, ...], updates: tuple[str, ...],
    endings: tuple[FusedClose, ...],
) -> FusedOp:  # fmt: skip
    names = [c.op.name for c in calls] + [e.op.name for e in endings]
    return FusedOp(
        name="fused", function=_no_function, inputs=tuple(f"x{k}" for k in range(operands)),
        outputs=tuple(f"out{k}" for k in range(len(results) + len(endings))), kinds="fib", updates=updates, calls=tuple(calls),
        results=results,
        closings=endings, differentiable=False, doc=" ".join(names),
    )  # fmt: skip


def _no_function(*_: Any) -> Any:
    raise AssertionError("a fused op has no function of its own")
