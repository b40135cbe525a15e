"""Segments of a forward pass: which values its backward pass reads, and where to cut so that little crosses a cut."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence

from graphexec.ir.function import Function, Node
from graphexec.ir.op_kinds import ShapeOp, ViewOp
from graphexec.ir.uses import Uses
from graphexec.options import SQUARE_ROOT, Request


class Forward:
    """The first ``count`` nodes of a differentiated function: which of them makes a value, and whose memory it has."""

    def __init__(self, fn: Function, count: int) -> None:
        self.fn, self.nodes, self.backward = fn, fn.nodes[:count], fn.nodes[count:]
        self.uses = Uses(fn)
        self.base = self.uses.aliases.base
        self.maker = {v: position for position, node in enumerate(self.nodes) for v in node.outputs}
        self.saved = {self.base(v) for node in self.backward for v in node.reads if v in self.maker}

    def cuts(self, request: Request) -> list[int]:
        """The positions at which all segments but the first begin, ascending."""
        if isinstance(request, tuple):
            wanted = set(request)
            ends = {position + 1 for v, position in self.maker.items() if self.fn.names[v] in wanted}
            return sorted(ends - {len(self.nodes)})
        if request == SQUARE_ROOT:
            return self._even(math.isqrt(sum(not isinstance(n.op, (ViewOp, ShapeOp)) for n in self.nodes)))
        assert isinstance(request, int)
        return self._even(request)

    def _even(self, number: int) -> list[int]:
        """Cuts into segments of about equal memory: each within a quarter of a segment of its even mark, where least crosses."""
        reached = list(itertools.accumulate(self._saved_by(node) for node in self.nodes))
        if not reached or reached[-1] == 0:
            return []
        crossing, cuts = self._crossing(), [0]
        number = min(number, len(self.nodes))
        for k in range(1, number):
            mark, margin = reached[-1] * k / number, reached[-1] / (4 * number)
            near = range(bisect.bisect_left(reached, mark - margin) + 1, bisect.bisect_right(reached, mark + margin) + 1)
            near = near or range(bisect.bisect_left(reached, mark) + 1, bisect.bisect_left(reached, mark) + 2)
            best = min(near, key=lambda cut: (*crossing[cut], abs(reached[cut - 1] - mark)))
            if cuts[-1] < best < len(self.nodes):
                cuts.append(best)
        return cuts[1:]

    def _saved_by(self, node: Node) -> int:
        return sum(self.fn.specs[v].nbytes for v in node.outputs if v in self.saved)

    def _crossing(self) -> list[tuple[int, int]]:
        """For each cut, the bytes of the values made before and read after it, and how many of them would not be live anyway."""
        last = {self.base(v): position for position, node in enumerate(self.nodes) for v in node.reads}
        changes = [[0, 0] for _ in range(len(self.nodes) + 2)]
        for value, end in last.items():
            if value in self.maker:
                size = self.fn.specs[value].nbytes
                for change, sign in ((changes[self.maker[value] + 1], 1), (changes[end + 1], -1)):
                    change[0] += sign * size
                    change[1] += sign * size * (value not in self.saved)
        return list(zip(*(itertools.accumulate(c) for c in zip(*changes, strict=True)), strict=True))


def live_across(forward: Forward, segment: Sequence[int], live_out: Iterable[int]) -> set[int]:
    """The bases that stay in memory: those of ``live_out``, and of the values that cross a cut."""
    found = {forward.base(v) for v in live_out}
    for position, node in enumerate(forward.nodes):
        for v in node.reads:
            if v in forward.maker and segment[forward.maker[v]] != segment[position]:
                found.add(forward.base(v))
    return found


def fixed(forward: Forward) -> bytearray:
    """Marks the nodes that are not computed twice: updates, readers of what updates write over, and nodes that cost nothing."""
    is_written = forward.uses.aliases.is_written

    def is_fixed(node: Node) -> bool:
        if node.op.updates or isinstance(node.op, ShapeOp) or not node.reads:
            return True
        return any(is_written(v) for v in node.reads)

    return bytearray(map(is_fixed, forward.nodes))
