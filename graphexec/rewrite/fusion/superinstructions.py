"""pairs: in graphs of many small nodes, a node and the first that reads it become one, where that pair is frequent.

`fuse` compiles a kernel for each distinct part, which thousands of random small nodes are not worth: each part is unique.
Small patterns are not. As byte-pair encoding does with letters, the most frequent kind of pair becomes one op wherever it
stands, then the most frequent among what is now there, pairs of pairs included, as long as each takes many nodes away:
one kernel more that the processor has to foresee costs time wherever it stands.

A node that moves to its first reader makes no circle, and what others read of it is stored. What it reads then has to be
there for longer: nothing in between may overwrite it, and the way is short.

ScalarRef: Gage, 1994, A New Algorithm for Data Compression, for the merging.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from graphexec.ir.function import Function, Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.keys import freeze, spec_key
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp, ViewOp
from graphexec.ir.spec import Size, TensorSpec
from graphexec.rewrite.fusion.elementwise import MOST_OPERANDS, _fused_op

MANY = 300
"""Small nodes from which on it is worth the while."""
SMALL = 256
"""Elements of a small node, at most."""
KERNELS = 8
"""Kinds of pairs that become one op, at most."""
SERVED = 20
"""Pairs of a kind from which on it is worth a kernel."""
SHARE = 16
"""A kind takes one of so many nodes away, or it is not worth a kernel."""
MOST_CALLS = 12
"""Calls in one op: longer ones are rarely frequent."""
MOST_READERS = 8
"""Readers beyond which a value's first one is not looked for."""
FAR = 100
"""Nodes beyond which a node does not move to its reader: its operands would keep their memory for too long."""


def superinstructions(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with frequent pairs of small elementwise nodes as one node each."""
    kinds = _Kinds(fn, are_small(fn))
    if len(kinds.of) - kinds.of.count(-1) < MANY:
        return fn
    least = max(SERVED, len(fn.nodes) // SHARE)
    readers, first_reader = _readers(fn)
    likely = _likely(kinds.of, first_reader, least)
    if not likely:
        return fn
    merging = _Merging(fn, kinds, readers, {*fn.kept, *keep})
    for position in likely:
        merging.look(position)
    for _ in range(KERNELS):
        if not merging.merge_most_frequent(least):
            break
    return merging.result()


def are_small(fn: Function) -> list[bool]:
    """Whether each node is elementwise, with few elements, of which the number is declared."""
    by_spec = {id(s): s is not None and _is_small(s) for s in {id(s): s for s in fn.specs}.values()}  # few, often shared
    return [isinstance(n.op, ElementwiseOp) and by_spec[id(fn.specs[n.outputs[0]])] for n in fn.nodes]


def _is_small(spec: TensorSpec) -> bool:
    return spec.size <= SMALL and not any(isinstance(n, Size) for n in spec.shape)


def _readers(fn: Function) -> tuple[list[list[int]], list[int]]:
    """For each value, the positions of the nodes that read it, ascending, once each; for each node, that of its first reader."""
    readers: list[list[int]] = [[] for _ in range(len(fn.names) + 1)]  # the last is for operands that are absent
    first_reader = [-1] * len(fn.nodes)
    maker: dict[int, int] = {}
    for position, node in enumerate(fn.nodes):
        for value in node.inputs:
            known = readers[value]
            if not known:
                known.append(position)
                made = maker.get(value)
                if made is not None and first_reader[made] < 0:
                    first_reader[made] = position
            elif known[-1] != position:
                known.append(position)
        for value in node.outputs:
            maker[value] = position
    return readers, first_reader


def _likely(kinds: Sequence[int], first_reader: Sequence[int], least: int) -> list[int]:
    """Positions of nodes that with their first readers make pairs that may be frequent, by kinds alone."""
    both = [(kind, kinds[r]) if r >= 0 and kind >= 0 else None for kind, r in zip(kinds, first_reader, strict=True)]
    frequent = {pair for pair, count in Counter(both).items() if count >= least and pair is not None and pair[1] >= 0}
    return [position for position, pair in enumerate(both) if pair in frequent]


class _Pattern(NamedTuple):
    """What a fused op is made of, whatever it works on."""

    calls: tuple[BodyCall, ...]
    operands: int
    results: tuple[ScalarRef, ...]
    updated: tuple[int, ...]
    """Operands that the first results overwrite."""


class _Pair(NamedTuple):
    """A kind of pair."""

    first: int
    second: int
    """Kinds of the two nodes."""
    links: tuple[int, ...]
    """For each operand of the second, which result of the first it is, or -1."""
    stored: tuple[bool, ...]
    """For each result of the first, whether others want it too."""


class _Kinds:
    """Nodes by kind: one for each op with its attributes and the specs it works on."""

    def __init__(self, fn: Function, small: Sequence[bool]) -> None:
        self.patterns: list[_Pattern] = []
        self.shapes: list[tuple[int, ...]] = []
        """By kind, as `patterns`: the shape that its nodes walk."""
        self._matches: dict[tuple[int, int], bool] = {}
        numbers: dict[Any, int] = {}
        shared = {id(s): s for s in fn.specs}  # few: inference gives nodes of a kind the same objects
        by_identity = {key: numbers.setdefault(spec_key(s), len(numbers)) for key, s in shared.items()}
        spec = [by_identity[id(s)] for s in fn.specs]
        found: dict[Any, int] = {}
        self.of: list[int] = []
        """By node; -1 for what cannot be merged."""
        for node, is_small in zip(fn.nodes, small, strict=True):
            if not is_small:
                self.of.append(-1)
                continue
            attributes = freeze(node.attributes) if node.attributes else None
            key = (node.op, attributes, *[spec[v] for v in node.inputs], *[spec[v] for v in node.outputs])
            kind = found.get(key)
            if kind is None:
                shape = fn.specs[node.outputs[0]].shape
                kind = found[key] = self.add(_pattern(node), shape) if _can_be_merged(node.op) else -1
            self.of.append(kind)

    def match(self, a: int, b: int) -> bool:
        """Whether nodes of two kinds can be one."""
        known = self._matches.get((a, b))
        if known is None:
            can = a >= 0 and b >= 0 and self.shapes[a] == self.shapes[b] and _fits(self.patterns[a], self.patterns[b])
            known = self._matches[a, b] = can
        return known

    def add(self, pattern: _Pattern, shape: tuple[int, ...]) -> int:
        self.patterns.append(pattern)
        self.shapes.append(shape)
        return len(self.patterns) - 1


class _Merging:
    """Nodes by position, while they are merged. A merged node stands where its last part stood."""

    def __init__(self, fn: Function, kinds: _Kinds, readers: list[list[int]], wanted: set[int]) -> None:
        self.fn, self.kinds, self.readers, self.wanted = fn, kinds, readers, wanted
        self.inputs = [node.inputs for node in fn.nodes]
        self.outputs = [node.outputs for node in fn.nodes]
        self.producer: dict[int, int] = {}
        """Of the values that are made by nodes with a partner."""
        self.overwritten = _overwritten(fn)
        self.merged: set[int] = set()
        self.gone: set[int] = set()
        self.partner: dict[int, int] = {}
        self.pair: dict[int, _Pair] = {}
        self.found: dict[_Pair, list[int]] = {}
        self.count: Counter[_Pair] = Counter()

    # -- which pairs there are

    def look(self, first: int) -> None:
        """Notes the pair of a node and the first that reads it, in place of the one noted before."""
        self._forget(first)
        pair = self._pair_of(first)
        if pair is not None:
            self.pair[first] = pair
            self.count[pair] += 1
            self.found.setdefault(pair, []).append(first)

    def _forget(self, first: int) -> None:
        before = self.pair.pop(first, None)
        if before is not None:
            self.count[before] -= 1

    def _pair_of(self, first: int) -> _Pair | None:
        outputs = self.outputs[first]
        readers = [self.readers[v] for v in outputs]
        if max([len(some) for some in readers]) > MOST_READERS:
            return None
        second = self.partner[first] = min([r for some in readers for r in some], default=-1)
        for value in outputs:
            self.producer[value] = first
        if second < 0 or second - first > FAR:
            return None
        a, b = self.kinds.of[first], self.kinds.of[second]
        if not self.kinds.match(a, b) or self._is_overwritten(first, second):
            return None
        links = tuple([outputs.index(v) if v in outputs else -1 for v in self.inputs[second]])
        if any(links[k] >= 0 for k in self.kinds.patterns[b].updated):
            return None
        stored = tuple([v in self.wanted or len(some) > (second in some) for v, some in zip(outputs, readers, strict=True)])
        return _Pair(a, b, links, stored)

    def _is_overwritten(self, first: int, second: int) -> bool:
        """Whether anything writes over what a node reads before it would be read; element by element the second may."""
        if self.overwritten.keys().isdisjoint(self.inputs[first]):
            return False
        for value in self.inputs[first]:
            for update, direct in self.overwritten.get(value, ()):
                if first < update < second or (update == second and not direct):
                    return True
        return False

    # -- how they are merged

    def merge_most_frequent(self, least: int) -> bool:
        """Merges the most frequent kind of pair everywhere; False where none is found so often."""
        pair, count = max(self.count.items(), key=lambda item: item[1], default=(None, 0))
        if pair is None or count < least:
            return False
        patterns = self.kinds.patterns
        kind = self.kinds.add(_joined(patterns[pair.first], patterns[pair.second], pair), self.kinds.shapes[pair.first])
        for first in self.found[pair]:  # grows while it is read
            if self.pair.get(first) == pair:
                self._merge(first, self.partner[first], pair, kind)
        del self.found[pair], self.count[pair]
        return True

    def _merge(self, first: int, second: int, pair: _Pair, kind: int) -> None:
        updated = len(self.kinds.patterns[pair.second].updated)
        outputs, others = self.outputs[first], self.outputs[second]
        stored = [v for v, also in zip(outputs, pair.stored, strict=True) if also]
        for value in outputs:
            if second in self.readers[value]:
                self.readers[value].remove(second)
        for value in self.inputs[first]:
            self._read_by(value, first, second)
        rest = [v for v, link in zip(self.inputs[second], pair.links, strict=True) if link < 0]
        self.inputs[second] = (*self.inputs[first], *rest)
        self.outputs[second] = (*others[:updated], *stored, *others[updated:])
        self.kinds.of[first], self.kinds.of[second] = -1, kind
        self.gone.add(first)
        self.merged.add(second)
        self._forget(first)
        self.look(second)
        for source in {self.producer.get(v, -1) for v in self.inputs[second]}:
            if self.partner.get(source) in (first, second):
                self.look(source)

    def _read_by(self, value: int, before: int, reader: int) -> None:
        """A value has another reader instead of one; where it has many, nobody asks who they are."""
        readers = self.readers[value]
        if len(readers) <= MOST_READERS and before in readers:
            readers.remove(before)
            if reader not in readers:
                readers.append(reader)

    def result(self) -> Function:
        """The order with a fused node for each merged one; nodes of equal patterns have one op."""
        if not self.merged:
            return self.fn
        ops: dict[Any, FusedOp] = {}
        by_kind: dict[int, FusedOp] = {}
        nodes = []
        for position, node in enumerate(self.fn.nodes):
            if position in self.merged and position not in self.gone:
                kind = self.kinds.of[position]
                if kind not in by_kind:
                    pattern = self.kinds.patterns[kind]
                    by_kind[kind] = ops.setdefault(_structure(pattern), _fused(pattern))
                node = Node(node.name, by_kind[kind], self.inputs[position], self.outputs[position], {}, node.source)
            if position not in self.gone:
                nodes.append(node)
        return self.fn.with_nodes(nodes)


def _overwritten(fn: Function) -> dict[int, list[tuple[int, bool]]]:
    """For values whose memory is overwritten, where that is, and whether the update names the value itself, not a view."""
    root: dict[int, int] = {}
    updates: list[tuple[int, int]] = []
    for position, node in enumerate(fn.nodes):
        if isinstance(node.op, ViewOp):
            root[node.outputs[0]] = root.get(node.inputs[0], node.inputs[0])
        for name in node.op.updates:
            updates.append((node.inputs[node.op.inputs.index(name)], position))
    views: dict[int, list[int]] = {}
    for value, base in root.items():
        views.setdefault(base, []).append(value)
    found: dict[int, list[tuple[int, bool]]] = {}
    for target, position in updates:
        base = root.get(target, target)
        for value in (base, *views.get(base, ())):
            found.setdefault(value, []).append((position, value == target))
    return found


# -- patterns


def _can_be_merged(op: Op) -> bool:
    return not (op.variadic or op.optional or op.shape_only or (isinstance(op, FusedOp) and op.closings))


def _pattern(node: Node) -> _Pattern:
    op = node.op
    assert isinstance(op, ElementwiseOp)
    updated = tuple(op.inputs.index(name) for name in op.updates)
    if isinstance(op, FusedOp):
        return _Pattern(op.calls, len(op.inputs), op.results, updated)
    call = BodyCall(op, node.attributes, tuple(ScalarRef("operand", k) for k in range(len(node.inputs))))
    return _Pattern((call,), len(node.inputs), tuple(ScalarRef("call", 0, k) for k in range(len(node.outputs))), updated)


def _fits(a: _Pattern, b: _Pattern) -> bool:
    return not a.updated and len(a.calls) + len(b.calls) <= MOST_CALLS and a.operands + b.operands <= MOST_OPERANDS


def _joined(a: _Pattern, b: _Pattern, pair: _Pair) -> _Pattern:
    """The calls of the first, then those of the second; so are operands and results, after what is updated."""
    places: list[ScalarRef] = []
    operands = a.operands
    for link in pair.links:
        if link >= 0:
            places.append(a.results[link])
        else:
            places.append(ScalarRef("operand", operands))
            operands += 1

    def moved(source: ScalarRef) -> ScalarRef:
        if source.kind == "operand":
            return places[source.index]
        return ScalarRef("call", source.index + len(a.calls), source.output)

    calls = tuple(c._replace(arguments=tuple(map(moved, c.arguments))) for c in b.calls)
    stored = tuple(r for r, also in zip(a.results, pair.stored, strict=True) if also)
    own = tuple(map(moved, b.results))
    n = len(b.updated)
    updated = tuple(places[k].index for k in b.updated)
    return _Pattern(a.calls + calls, operands, (*own[:n], *stored, *own[n:]), updated)


def _structure(pattern: _Pattern) -> Any:
    calls = tuple((c.op, freeze(c.attributes), c.arguments) for c in pattern.calls)
    return (calls, *pattern[1:])


def _fused(pattern: _Pattern) -> FusedOp:
    updates = tuple(f"x{k}" for k in pattern.updated)
    return _fused_op(pattern.calls, pattern.operands, pattern.results, updates, ())
