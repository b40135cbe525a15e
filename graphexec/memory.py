"""plan_memory: lifetimes, and one arena in which buffers whose lifetimes do not meet share memory.

Walks the steps once: a value's buffer is taken when it is written and given back after its last reader; what is free
is found by size, so the plan costs linear time. An elementwise op whose operand is read for the last time writes over
it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

from graphexec.fused import RowsOp
from graphexec.layout import Layout
from graphexec.op import ElementwiseOp
from graphexec.order import Node
from graphexec.spec import broadcast
from graphexec.template_rows import row_plan, row_views

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""


@dataclass(frozen=True)
class MemoryPlan:
    """``offsets`` of arena storages, by storage number (-1: not in the arena); sizes in bytes."""

    offsets: list[int]
    arena: int
    """Size of the arena: the peak of memory in use at once."""
    without_reuse: int
    """What the same values would take if each had its own memory."""


def plan_memory(layout: Layout, keep: Iterable[int] = (), *, reuse: bool = True) -> MemoryPlan:
    """Places every storage. Values in ``keep`` are not overwritten before the program ends.

    ``reuse=False`` gives each value its own memory, for debugging.
    """
    count = len(layout.bytes)
    last = _last_uses(layout, keep) if reuse else [len(layout.steps)] * count
    offsets, sizes = [-1] * count, [_round(n) for n in layout.bytes]
    arena = _Arena()
    for position, step in enumerate(layout.steps):
        taken = _take_over(layout, step, position, last, offsets) if reuse else {}
        for value in step.outputs:
            storage = layout.storage[value]
            if layout.persistent[storage] or offsets[storage] >= 0:
                continue
            if storage in taken:
                offsets[storage] = offsets[taken[storage]]
                last[taken[storage]] = -1  # its memory has a new owner
            else:
                offsets[storage] = arena.take(sizes[storage])
        for storage in {layout.storage[v] for v in (*step.reads, *step.outputs)}:
            if last[storage] <= position and last[storage] >= 0 and offsets[storage] >= 0 and not layout.persistent[storage]:
                arena.give_back(offsets[storage], sizes[storage])
                last[storage] = -1
    return MemoryPlan(offsets, arena.end, sum(s for s, p in zip(sizes, layout.persistent, strict=True) if not p))


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


def _take_over(layout: Layout, step: Node, position: int, last: list[int], offsets: list[int]) -> dict[int, int]:
    """Output storages that may use an operand's memory: the operand ends here, and element i is read where i is written."""
    if isinstance(step.op, RowsOp):
        walked, outputs = row_views(layout, step)[0], _written_last(layout, step)
    elif isinstance(step.op, ElementwiseOp):
        walked, outputs = broadcast([layout.specs[v].shape for v in step.reads]), step.outputs
    else:
        return {}
    taken: dict[int, int] = {}
    for value in outputs:
        storage, view = layout.storage[value], layout.views[value]
        if layout.persistent[storage] or view.shape != walked:  # a partial result is written while operands are still read
            continue
        for operand in step.reads:
            source = layout.storage[operand]
            if (
                last[source] == position and offsets[source] >= 0 and source not in taken.values()
                and not layout.persistent[source] and layout.bytes[source] == layout.bytes[storage]
                and all(layout.views[o] == view for o in step.reads if layout.storage[o] == source)
            ):  # fmt: skip
                taken[storage] = source
                break
    return taken


def _written_last(layout: Layout, step: Node) -> tuple[int, ...]:
    """Outputs of a kernel over rows that are written when all operands are read for the last time."""
    if row_views(layout, step)[0][-1] == 1:  # operands with one element a row, which are read to the end, look like others
        return ()
    return tuple(step.outputs[k] for k in row_plan(layout, step).phases[-1].stores)


def _round(nbytes: int) -> int:
    return max(-(-nbytes // ALIGNMENT) * ALIGNMENT, ALIGNMENT)


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
