"""The list scheduler of the fusing passes: an order of a function's nodes in which those that can be fused follow one another.

A run of an order is convex: no path leaves it and returns. So the connected parts of a run can be fused as they are, and one
walk over the function finds them all. `Scheduler` makes the runs, `connected_parts` cuts them into parts, and `within_budget`
chooses the parts that are worth a kernel.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from graphexec.ir.function import Function
from graphexec.ir.keys import shape_keys
from graphexec.ir.op_kinds import ElementwiseOp, ShapeOp, ViewOp
from graphexec.ir.uses import Uses

MAX_CALLS = 96
"""Calls in one fused op."""
MAX_OPERANDS = 16
MAX_FREE_KERNELS = 24
"""Distinct fused kernels that a small graph may have whatever they save."""
MAX_NODES_OF_SMALL_GRAPH = 1_000
"""Nodes up to which a graph has that allowance; the plain kernels of a larger one serve many nodes each."""
MAX_COMPILED_CALLS = 768
"""Calls in all distinct kernels of a pass. A call takes 4 to 30 ms to compile; a network's layers share theirs and need few."""
MIN_SAVED_ELEMENTS = 200_000
"""Elements that a further fused kernel must keep out of memory in a run to be worth its compilation."""

Part = list[int]
"""Positions of nodes that become one."""


# -- the order


class Scheduler:
    """A list scheduler: each run starts at the first node that is ready, and takes in what becomes ready for it.

    ``keys`` has for each node the key of those that may share a run with it; None where it runs alone.
    """

    def __init__(self, fn: Function, keys: Sequence[Any]) -> None:
        self.fn, self.nodes, self.keys = fn, fn.nodes, keys
        self.waiting, self.followers = dependencies(fn)
        scalar = iteration_shapes(fn)
        self.free = [isinstance(n.op, (ViewOp, ShapeOp)) or scalar[p] == () for p, n in enumerate(fn.nodes)]
        self.producer = {v: p for p, n in enumerate(fn.nodes) for v in n.outputs}
        self.runs: list[list[int]] = []
        self.ready: list[int] = []
        self.beside: dict[Any, list[int]] = {}
        self.done = bytearray(len(fn.nodes))

    def run(self) -> list[list[int]]:
        """The positions of all nodes in their new order, as runs."""
        for p, n in enumerate(self.waiting):
            if n == 0 and not self.done[p]:
                self.make_ready(p, frozenset())
        while self.ready:
            first = heapq.heappop(self.ready)
            if not self.done[first]:
                self.start(first)
        return self.runs

    def start(self, first: int) -> None:
        """Makes the run that begins with a node."""
        key = self.keys[first]
        queue = self.beside[key] if key is not None else [first]
        run: list[int] = []
        members: set[int] = set()
        while queue:
            p = heapq.heappop(queue)
            if not self.done[p]:
                self.take(p, run, members)
        self.runs.append(run)

    def take(self, p: int, run: list[int], members: set[int]) -> None:
        """Puts a node into a run; nodes that waited for it alone become ready."""
        self.done[p] = 1
        run.append(p)
        members.add(p)
        for f in self.followers[p]:
            self.waiting[f] -= 1
            if self.waiting[f] == 0:
                self.make_ready(f, members)

    def make_ready(self, p: int, members: Set[int]) -> None:
        """Queues a node. A view or a scalar costs nothing: it goes before the run in progress unless it reads a member of it."""
        if not self.free[p]:
            self.wait(p)
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
            self.wait(p)

    def wait(self, p: int) -> None:
        """Queues a node that is ready for a run to come, or for the one in progress."""
        heapq.heappush(self.ready, p)
        if self.keys[p] is not None:
            heapq.heappush(self.beside.setdefault(self.keys[p], []), p)


def dependencies(fn: Function) -> tuple[list[int], list[list[int]]]:
    """For each node, how many others it waits for, and which wait for it. An update waits for all readers of what it overwrites."""
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
    """Adds an edge to each update from the readers of the value that it names, and of views of that value.

    Readers of the update's own output have the same memory, but come after it: so this asks for values, not for bases.
    """
    shown = Uses(fn).aliases.shown
    targets = {shown(target) for node in fn.nodes if node.op.updates for target in node.update_targets}
    readers: dict[int, list[int]] = {target: [] for target in targets}
    for position, node in enumerate(fn.nodes):
        for value in node.reads:
            found = readers.get(shown(value))
            if found is not None:
                found.append(position)
    for position, node in enumerate(fn.nodes):
        for target in node.update_targets:
            for reader in set(readers[shown(target)]):
                if reader != position:
                    followers[reader].append(position)
                    waiting[position] += 1


def iteration_shapes(fn: Function) -> list[Any]:
    """For each node the key of its iteration shape; None where it cannot be fused elementwise."""
    keys = shape_keys(fn.specs)
    fit = {op for op in fn.ops if isinstance(op, ElementwiseOp) and not (op.variadic or op.optional or op.shape_only)}
    return [keys[node.outputs[0]] if node.op in fit else None for node in fn.nodes]


# -- the parts of a run


def connected_parts(
    fn: Function, run: Sequence[int], followers: Sequence[Sequence[int]], max_calls: int = MAX_CALLS
) -> list[Part]:
    """The connected parts of a run, each after those that it waits for, cut where they would grow too large.

    A reader of a parameter and the update that overwrites it count as connected: as two parts, neither could go first.
    """
    if len(run) == 1:
        return [list(run)]
    at = {p: k for k, p in enumerate(run)}
    waits_for: list[list[int]] = [[] for _ in run]
    for k, p in enumerate(run):
        for f in followers[p]:
            if f in at:
                waits_for[at[f]].append(k)
    roots = _joined(waits_for, [set(fn.nodes[p].inputs) for p in run], max_calls)
    groups: dict[int, Part] = {}
    for root, p in zip(roots, run, strict=True):
        groups.setdefault(root, []).append(p)
    number = {root: g for g, root in enumerate(groups)}
    member = [number[root] for root in roots]
    waiting_for: list[set[int]] = [set() for _ in groups]
    for g, before in zip(member, waits_for, strict=True):
        waiting_for[g].update([member[j] for j in before])
    return _in_order(list(groups.values()), waiting_for) or [[p] for p in run]


def _joined(waits_for: Sequence[Sequence[int]], operands: list[set[int]], max_calls: int) -> list[int]:
    """For each node of a run the representative of its part, by union and find; ``operands`` are merged on the way."""
    parent = list(range(len(waits_for)))
    size = [1] * len(waits_for)

    def find(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    for k, before in enumerate(waits_for):
        for j in before:
            a, b = find(j), find(k)
            calls = size[a] + size[b]
            if a == b or calls > max_calls:
                continue
            more = operands[b] - operands[a]
            if len(operands[a]) + len(more) <= MAX_OPERANDS + calls:
                parent[b] = a
                size[a] = calls
                operands[a] |= more
    return [find(k) for k in range(len(waits_for))]


def _in_order(groups: list[Part], waits_for: Sequence[Iterable[int]]) -> list[Part]:
    """Groups after those that they wait for; none where groups, cut for their size, wait for one another in a cycle."""
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


# -- the budget


class Keyed(Protocol):
    """A node that may replace a part, with the key of its kernel."""

    @property
    def key(self) -> Any: ...


Candidate = TypeVar("Candidate", bound=Keyed)


class Choice(NamedTuple, Generic[Candidate]):
    """What `within_budget` chose, the parts that were worth a kernel but beyond the budget, and the calls that the chosen have."""

    chosen: list[tuple[Part, Candidate]]
    beyond: list[Part]
    calls: int


def within_budget(
    fn: Function, made: Sequence[tuple[Part, Candidate]], max_nodes: int, max_calls: int = MAX_COMPILED_CALLS
) -> Choice[Candidate]:
    """The candidates that are worth a kernel: those that keep most out of memory, and all of them where they are few.

    ``max_nodes`` is the size up to which a graph may have some kernels whatever they save; ``max_calls`` bounds their compilation,
    which would otherwise take minutes for a large graph in which no two parts are equal.
    """
    saved: Counter[Any] = Counter()
    calls: dict[Any, int] = {}
    for part, fused in made:
        calls[fused.key] = len(part)
        saved[fused.key] += sum(min(fn.specs[fn.nodes[p].outputs[0]].size, 1 << 24) for p in part) + 16 * len(part)
    ranked = [key for key, _ in saved.most_common()]
    small = len(fn.nodes) <= max_nodes and len(ranked) <= 2 * MAX_FREE_KERNELS
    worth = [key for k, key in enumerate(ranked) if (small and k < MAX_FREE_KERNELS) or saved[key] >= MIN_SAVED_ELEMENTS]
    compiled = list(itertools.accumulate(calls[key] for key in worth))
    allowed = set(worth[: bisect.bisect_right(compiled, max_calls)])
    chosen = [(part, fused) for part, fused in made if fused.key in allowed]
    beyond = set(worth) - allowed
    return Choice(chosen, [part for part, fused in made if fused.key in beyond], sum(calls[key] for key in allowed))
