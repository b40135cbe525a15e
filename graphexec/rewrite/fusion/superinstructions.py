"""superinstructions: in graphs of many small nodes, merges frequent pairs of a node and its first reader into one node.

`fuse` compiles a kernel for each distinct part, which thousands of random small nodes are not worth: each part is unique, but
small patterns are not. As byte-pair encoding does with letters, the pass merges the most frequent kind of pair wherever it
occurs, then the most frequent among what there is then, merged pairs included, as long as each takes many nodes away: every
further kernel costs mispredicted calls everywhere.

Moving a node to its first reader closes no cycle, and results that others read are stored. Its operands must live until then,
so nothing in between may overwrite them, and the distance is short.

Source: Gage, 1994, A New Algorithm for Data Compression, for the merging.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from graphexec.ir.function import Function, Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.uses import Uses
from graphexec.rewrite.fusion.patterns import MIN_SMALL_NODES, Kinds, Pair, are_small, fused, joined, structure

MAX_KERNELS = 8
"""Kinds of pairs that become one op, at most."""
MIN_PAIRS = 20
"""Pairs of a kind for it to be worth a kernel."""
MAX_NODES_PER_PAIR = 16
"""Nodes of the graph for each pair of a kind, at most: a rarer kind is not worth a kernel."""
MAX_READERS = 8
"""Readers beyond which the pass does not look for a value's first one."""
MAX_DISTANCE = 100
"""Nodes beyond which a node does not move to its reader: its operands would stay live for too long."""


def superinstructions(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function with frequent pairs of small elementwise nodes as one node each."""
    kinds = Kinds(fn, are_small(fn))
    if len(kinds.of) - kinds.of.count(-1) < MIN_SMALL_NODES:
        return fn
    least = max(MIN_PAIRS, len(fn.nodes) // MAX_NODES_PER_PAIR)
    uses = Uses(fn, live_out)
    likely = _likely(kinds.of, _first_readers(fn, uses.readers), least)
    if not likely:
        return fn
    merging = Merging(fn, kinds, uses)
    for position in likely:
        merging.look(position)
    for _ in range(MAX_KERNELS):
        if not merging.merge_most_frequent(least):
            break
    return merging.result()


def _first_readers(fn: Function, readers: Sequence[Sequence[int]]) -> list[int]:
    """For each node the position of the first that reads one of its results; -1 where none does."""
    return [min([readers[v][0] for v in node.outputs if readers[v]], default=-1) for node in fn.nodes]


def _likely(kinds: Sequence[int], first_reader: Sequence[int], least: int) -> list[int]:
    """Positions of the nodes whose pairs with their first readers may be frequent, judged by their kinds alone."""
    both = [(kind, kinds[r]) if r >= 0 and kind >= 0 else None for kind, r in zip(kinds, first_reader, strict=True)]
    frequent = {pair for pair, count in Counter(both).items() if count >= least and pair is not None and pair[1] >= 0}
    return [position for position, pair in enumerate(both) if pair in frequent]


class Merging:
    """Nodes by position, while they are merged. A merged node takes the place of its last part."""

    def __init__(self, fn: Function, kinds: Kinds, uses: Uses) -> None:
        self.fn, self.kinds, self.aliases, self.live_out = fn, kinds, uses.aliases, uses.live_out
        self.readers = uses.readers
        """Of the values as they are now: merging changes the lists."""
        self.inputs = [node.inputs for node in fn.nodes]
        self.outputs = [node.outputs for node in fn.nodes]
        self.producer: dict[int, int] = {}
        """Of the results of nodes that have a partner."""
        self.merged: set[int] = set()
        self.gone: set[int] = set()
        self.partner: dict[int, int] = {}
        self.pair: dict[int, Pair] = {}
        self.found: dict[Pair, list[int]] = {}
        self.count: Counter[Pair] = Counter()

    # -- counting pairs

    def look(self, first: int) -> None:
        """Counts the pair of a node and its first reader, in place of the pair counted before."""
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

    def _pair_of(self, first: int) -> Pair | None:
        outputs = self.outputs[first]
        readers = [self.readers[v] for v in outputs]
        if max([len(some) for some in readers]) > MAX_READERS:
            return None
        second = self.partner[first] = min([r for some in readers for r in some], default=-1)
        for value in outputs:
            self.producer[value] = first
        if second < 0 or second - first > MAX_DISTANCE:
            return None
        a, b = self.kinds.of[first], self.kinds.of[second]
        if not self.kinds.match(a, b) or self._is_overwritten(first, second):
            return None
        links = tuple([outputs.index(v) if v in outputs else -1 for v in self.inputs[second]])
        if any(links[k] >= 0 for k in self.kinds.patterns[b].updated):
            return None
        stored = tuple([v in self.live_out or len(some) > (second in some) for v, some in zip(outputs, readers, strict=True)])
        return Pair(a, b, links, stored)

    def _is_overwritten(self, first: int, second: int) -> bool:
        """Whether a node's operand is overwritten before the second reads it. The second itself may do so element by element."""
        if not self.aliases.written:
            return False
        for value in self.inputs[first]:
            for update, target in self.aliases.writes(value):
                if first < update < second or (update == second and value != target):
                    return True
        return False

    # -- merging them

    def merge_most_frequent(self, least: int) -> bool:
        """Merges the most frequent kind of pair everywhere; False where none occurs ``least`` times."""
        pair, count = max(self.count.items(), key=lambda item: item[1], default=(None, 0))
        if pair is None or count < least:
            return False
        patterns = self.kinds.patterns
        kind = self.kinds.add(joined(patterns[pair.first], patterns[pair.second], pair), self.kinds.shapes[pair.first])
        for first in self.found[pair]:  # grows while it is read
            if self.pair.get(first) == pair:
                self._merge(first, self.partner[first], pair, kind)
        del self.found[pair], self.count[pair]
        return True

    def _merge(self, first: int, second: int, pair: Pair, kind: int) -> None:
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
        """Replaces a reader of a value. Lists of many readers are not kept up to date: no pair is made of their values."""
        readers = self.readers[value]
        if len(readers) <= MAX_READERS and before in readers:
            readers.remove(before)
            if reader not in readers:
                readers.append(reader)

    def result(self) -> Function:
        """The function with a fused node for each merged one; nodes of equal patterns share one op."""
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
                    by_kind[kind] = ops.setdefault(structure(pattern), fused(pattern))
                node = Node(node.name, by_kind[kind], self.inputs[position], self.outputs[position], {}, node.location)
            if position not in self.gone:
                nodes.append(node)
        return self.fn.with_nodes(nodes)
