"""Assigns offsets in one arena, so that buffers with disjoint lifetimes share memory.

One walk over the steps turns storages into blocks, each alive from the step that first writes it to the last step that reads
it. An elementwise op overwrites an operand that it is the last to read: both share a block. Then each block gets an offset.
Blocks are placed in program order, in reverse, and largest-first, until one way reaches the lower bound: the peak of live
bytes.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from graphexec.ir.function import Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.rowwise import RowwiseOp
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.spec import broadcast
from graphexec.lower.alignment import rounded
from graphexec.lower.layout import Layout, row_schedule, row_views

MAX_BLOCKS_BY_SIZE = 1_000
"""With more blocks, largest-first placement is not tried: its time grows with the square of their number."""


@dataclass(frozen=True)
class BufferAssignment:
    """``offsets`` in the arena by storage number, -1 for storages outside it; sizes in bytes."""

    offsets: list[int]
    arena: int
    """Size of the arena."""
    without_reuse: int
    """The size that the arena would have if each value had its own memory."""


def assign_buffers(layout: Layout, live_out: Iterable[int] = (), *, reuse: bool = True) -> BufferAssignment:
    """Assigns an offset to every storage. Values in ``live_out`` are not overwritten before the program ends.

    ``reuse=False`` gives each value its own memory, for debugging.
    """
    last = _last_uses(layout, live_out) if reuse else [len(layout.steps)] * len(layout.bytes)
    blocks, block_of = _blocks(layout, last, reuse)
    offsets, arena = placed(blocks, len(layout.steps))
    without = sum(rounded(n) for n, p in zip(layout.bytes, layout.persistent, strict=True) if not p)
    return BufferAssignment([-1 if k < 0 else offsets[k] for k in block_of], arena, without)


# -- blocks


@dataclass
class Blocks:
    """For each block: its bytes, the step that first writes it, and the last step that uses it."""

    sizes: list[int]
    born: list[int]
    last: list[int]

    def peak(self, steps: int) -> int:
        """The most bytes alive at once: a lower bound of the arena."""
        changes = np.zeros(steps + 2, np.int64)
        np.add.at(changes, self.born, self.sizes)
        np.subtract.at(changes, np.add(self.last, 1), self.sizes)
        return int(np.cumsum(changes).max())


def _blocks(layout: Layout, last: list[int], reuse: bool) -> tuple[Blocks, list[int]]:
    """The blocks, and the block of each storage; -1 for storages outside the arena."""
    blocks, block_of = Blocks([], [], []), [-1] * len(layout.bytes)
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


def _last_uses(layout: Layout, live_out: Iterable[int]) -> list[int]:
    last = [-1] * len(layout.bytes)
    storage = layout.storage
    for position, step in enumerate(layout.steps):
        for value in step.reads:
            last[storage[value]] = position
        for value in step.outputs:  # an output without readers is free again at once
            last[storage[value]] = position
    for value in live_out:
        last[storage[value]] = len(layout.steps)
    return last


def _take_over(layout: Layout, step: Node, position: int, last: list[int], block_of: list[int]) -> dict[int, int]:
    """The output storages that can take over an operand's memory, which no later step reads, and the operand's storage.

    The kernel must read element i of the operand before it writes element i of the output.
    """
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
    """The iteration shape of an elementwise step: that of its results, none of which a fused op needs to store."""
    if isinstance(step.op, FusedOp):
        return broadcast([layout.specs[v].shape for v in step.reads])
    return layout.specs[step.outputs[0]].shape


def _written_last(layout: Layout, step: Node) -> tuple[int, ...]:
    """The outputs of a rowwise kernel that are written in its last sweep, which is also the last to read the operands."""
    if row_views(layout, step)[0][-1] == 1:  # operands with one element per row, which all sweeps read, cannot be told from others
        return ()
    return tuple(step.outputs[k] for k in row_schedule(layout, step).sweeps[-1].stores)


# -- places


def placed(blocks: Blocks, steps: int) -> tuple[list[int], int]:
    """The offset of each block and the size of the arena, by the best of three ways of placing.

    In program order, a long-lived block that starts late finds only gaps; in reverse order it comes early.
    """
    least, best, arena = blocks.peak(steps) if blocks.sizes else 0, [], -1
    for place in (in_time, against_time, largest_first):
        if arena == least or (place is largest_first and len(blocks.sizes) > MAX_BLOCKS_BY_SIZE):
            break
        offsets = place(blocks)
        end = max((o + n for o, n in zip(offsets, blocks.sizes, strict=True)), default=0)
        if arena < 0 or end < arena:
            best, arena = offsets, end
    return best, arena


def in_time(blocks: Blocks) -> list[int]:
    return _one_by_one(blocks.sizes, blocks.born, blocks.last)


def against_time(blocks: Blocks) -> list[int]:
    return _one_by_one(blocks.sizes, [-t for t in blocks.last], [-t for t in blocks.born])


def _one_by_one(sizes: list[int], begin: list[int], end: list[int]) -> list[int]:
    """Allocates a block at its begin and frees it after its end, in time linear in the number of blocks."""
    offsets, arena, given = [-1] * len(sizes), _Arena(), 0
    ending = sorted(range(len(sizes)), key=end.__getitem__)
    for block in sorted(range(len(sizes)), key=begin.__getitem__):
        while end[ending[given]] < begin[block]:
            arena.give_back(offsets[ending[given]], sizes[ending[given]])
            given += 1
        offsets[block] = arena.take(sizes[block])
    return offsets


def largest_first(blocks: Blocks) -> list[int]:
    """Each block at the lowest offset that is free during its lifetime. Source: Pisarchyk and Lee, 2020, "greedy by size"."""
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
    """Free blocks: a request gets one of its exact size, or else the smallest that is large enough. Neighbours merge."""

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
        """Removes a free block; its entry by size remains and is skipped when found."""
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
