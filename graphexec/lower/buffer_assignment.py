"""plan_memory: lifetimes, and one arena in which buffers whose lifetimes do not meet share memory.

Walks the steps once: storages become blocks, each with the time from the step that writes it to the last that reads it. An
elementwise op whose operand is read for the last time writes over it, in the operand's block. Then every block gets a place
in the arena. No plan can need less than what is alive at once; where the first way of placing needs more, another is tried.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from graphexec.abi import ALIGNMENT
from graphexec.ir.function import Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.rowwise import RowwiseOp
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.spec import broadcast
from graphexec.lower.layout_assignment import Layout
from graphexec.lower.rowwise import row_schedule, row_views

MOST_BLOCKS = 1_000
"""Blocks up to which they are placed largest first, where that may save memory: it costs time in the square of their number."""


@dataclass(frozen=True)
class BufferAssignment:
    """``offsets`` of arena storages, by storage number (-1: not in the arena); sizes in bytes."""

    offsets: list[int]
    arena: int
    """Size of the arena."""
    without_reuse: int
    """What the same values would take if each had its own memory."""


def assign_buffers(layout: Layout, keep: Iterable[int] = (), *, reuse: bool = True) -> BufferAssignment:
    """Places every storage. Values in ``keep`` are not overwritten before the program ends.

    ``reuse=False`` gives each value its own memory, for debugging.
    """
    last = _last_uses(layout, keep) if reuse else [len(layout.steps)] * len(layout.bytes)
    blocks, block_of = _blocks(layout, last, reuse)
    offsets, arena = _placed(blocks, len(layout.steps))
    without = sum(rounded(n) for n, p in zip(layout.bytes, layout.persistent, strict=True) if not p)
    return BufferAssignment([-1 if k < 0 else offsets[k] for k in block_of], arena, without)


# -- blocks


@dataclass
class _Blocks:
    """Lists by block: bytes, the step that writes it first, the last step that uses it."""

    sizes: list[int]
    born: list[int]
    last: list[int]

    def peak(self, steps: int) -> int:
        """The most bytes that are alive at once: no arena can be smaller."""
        changes = np.zeros(steps + 2, np.int64)
        np.add.at(changes, self.born, self.sizes)
        np.subtract.at(changes, np.add(self.last, 1), self.sizes)
        return int(np.cumsum(changes).max())


def _blocks(layout: Layout, last: list[int], reuse: bool) -> tuple[_Blocks, list[int]]:
    """The blocks, and for each storage its block; -1 for those that are not in the arena."""
    blocks, block_of = _Blocks([], [], []), [-1] * len(layout.bytes)
    for position, step in enumerate(layout.steps):
        taken = _take_over(layout, step, position, last, block_of) if reuse else {}
        for value in step.outputs:
            storage = layout.storage[value]
            if layout.persistent[storage] or block_of[storage] >= 0:
                continue
            if storage in taken:
                block_of[storage] = block = block_of[taken[storage]]
                blocks.last[block] = last[storage]
            else:
                block_of[storage] = len(blocks.sizes)
                blocks.sizes.append(rounded(layout.bytes[storage]))
                blocks.born.append(position)
                blocks.last.append(last[storage])
    return blocks, block_of


def _last_uses(layout: Layout, keep: Iterable[int]) -> list[int]:
    last = [-1] * len(layout.bytes)
    storage = layout.storage
    for position, step in enumerate(layout.steps):
        for value in step.reads:
            last[storage[value]] = position
        for value in step.outputs:  # what nobody reads is free again at once
            last[storage[value]] = position
    for value in keep:
        last[storage[value]] = len(layout.steps)
    return last


def _take_over(layout: Layout, step: Node, position: int, last: list[int], block_of: list[int]) -> dict[int, int]:
    """Output storages that may use an operand's memory: the operand ends here, and element i is read where i is written."""
    taken: dict[int, int] = {}
    reads, storages = step.reads, layout.storage
    ending = [source for v in reads if last[source := storages[v]] == position and block_of[source] >= 0]
    if not ending:
        return taken
    if isinstance(step.op, RowwiseOp):
        walked, outputs = row_views(layout, step)[0], _written_last(layout, step)
    elif isinstance(step.op, ElementwiseOp):
        walked, outputs = _walked(layout, step), step.outputs
    else:
        return taken
    for value in outputs:
        storage, view = storages[value], layout.views[value]
        if layout.persistent[storage] or view.shape != walked:  # a partial result is written while operands are still read
            continue
        for source in ending:
            if (
                source not in taken.values() and layout.bytes[source] == layout.bytes[storage]
                and all(layout.views[v] == view for v in reads if storages[v] == source)
            ):  # fmt: skip
                taken[storage] = source
                break
    return taken


def _walked(layout: Layout, step: Node) -> tuple[int, ...]:
    """The shape that an elementwise step walks: that of its results, of which a fused one may store none."""
    if isinstance(step.op, FusedOp):
        return broadcast([layout.specs[v].shape for v in step.reads])
    return layout.specs[step.outputs[0]].shape


def _written_last(layout: Layout, step: Node) -> tuple[int, ...]:
    """Outputs of a kernel over rows that are written when all operands are read for the last time."""
    if row_views(layout, step)[0][-1] == 1:  # operands with one element a row, which are read to the end, look like others
        return ()
    return tuple(step.outputs[k] for k in row_schedule(layout, step).sweeps[-1].stores)


def rounded(nbytes: int) -> int:
    """The bytes that a block of so many takes in the arena."""
    return max(-(-nbytes // ALIGNMENT) * ALIGNMENT, ALIGNMENT)


# -- places


def _placed(blocks: _Blocks, steps: int) -> tuple[list[int], int]:
    """The offset of each block, and the end of the last: the smallest of what three ways of placing give.

    In the order of time a long-lived block that comes late finds only gaps; against the order of time it comes early.
    """
    least, best, arena = blocks.peak(steps) if blocks.sizes else 0, [], -1
    for place in (_in_time, _against_time, _largest_first):
        if arena == least or (place is _largest_first and len(blocks.sizes) > MOST_BLOCKS):
            break
        offsets = place(blocks)
        end = max((o + n for o, n in zip(offsets, blocks.sizes, strict=True)), default=0)
        if arena < 0 or end < arena:
            best, arena = offsets, end
    return best, arena


def _in_time(blocks: _Blocks) -> list[int]:
    return _one_by_one(blocks.sizes, blocks.born, blocks.last)


def _against_time(blocks: _Blocks) -> list[int]:
    return _one_by_one(blocks.sizes, [-t for t in blocks.last], [-t for t in blocks.born])


def _one_by_one(sizes: list[int], begin: list[int], end: list[int]) -> list[int]:
    """Takes a block's memory when it begins, and gives it back when it has ended: linear in the number of blocks."""
    offsets, arena, given = [-1] * len(sizes), _Arena(), 0
    ending = sorted(range(len(sizes)), key=end.__getitem__)
    for block in sorted(range(len(sizes)), key=begin.__getitem__):
        while end[ending[given]] < begin[block]:
            arena.give_back(offsets[ending[given]], sizes[ending[given]])
            given += 1
        offsets[block] = arena.take(sizes[block])
    return offsets


def _largest_first(blocks: _Blocks) -> list[int]:
    """Each block at the lowest place that is free during its life. Source: Pisarchyk and Lee, 2020, "greedy by size"."""
    sizes, born, last = (np.array(x, np.int64) for x in (blocks.sizes, blocks.born, blocks.last))
    largest = np.lexsort((born, -sizes))
    offsets, placed = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), bool)
    for block in largest:
        beside = np.flatnonzero(placed & (born <= last[block]) & (last >= born[block]))
        beside = beside[np.argsort(offsets[beside], kind="stable")]
        starts = np.append(offsets[beside], np.iinfo(np.int64).max)
        ends = np.maximum.accumulate(np.append(0, offsets[beside] + sizes[beside]))
        offsets[block] = ends[np.argmax(starts - ends >= sizes[block])]
        placed[block] = True
    return [int(o) for o in offsets]


class _Arena:
    """Free blocks, found by exact size first, then the smallest that is large enough; neighbours merge."""

    def __init__(self) -> None:
        self.end = 0
        self._size_at: dict[int, int] = {}
        self._start_of_end: dict[int, int] = {}
        self._by_size: dict[int, list[int]] = {}
        self._sizes: list[int] = []

    def take(self, size: int) -> int:
        found = self._pop(size)
        if found is None:
            at = bisect.bisect_left(self._sizes, size)
            while at < len(self._sizes) and found is None:
                larger = self._sizes[at]
                found = self._pop(larger)
                if found is None:
                    del self._sizes[at]
                    self._by_size.pop(larger, None)
                else:
                    self._add(found + size, larger - size)
        if found is None:
            found, self.end = self.end, self.end + size
        return found

    def give_back(self, start: int, size: int) -> None:
        before = self._start_of_end.get(start)
        if before is not None:
            size += self._remove(before)
            start = before
        if start + size in self._size_at:
            size += self._remove(start + size)
        self._add(start, size)

    def _add(self, start: int, size: int) -> None:
        if size == 0:
            return
        self._size_at[start] = size
        self._start_of_end[start + size] = start
        if size not in self._by_size:
            self._by_size[size] = []
            bisect.insort(self._sizes, size)
        self._by_size[size].append(start)

    def _remove(self, start: int) -> int:
        """Forgets a free block; its entry by size is left behind and skipped when it comes up."""
        size = self._size_at.pop(start)
        del self._start_of_end[start + size]
        return size

    def _pop(self, size: int) -> int | None:
        starts = self._by_size.get(size)
        while starts:
            start = starts.pop()
            if self._size_at.get(start) == size:
                self._remove(start)
                return start
        return None
