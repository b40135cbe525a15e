"""Places barriers: marks the instructions before which all threads must finish all earlier work.

Two instructions conflict when one writes memory that the other uses. They still need no barrier if each thread uses only
what it wrote itself: if both are serial, so that thread 0 runs them, or if both divide that memory among the threads in the
same way. The products and elementwise steps of successive layers do, with some rows of the batch for each thread.

An update of state waits for all instructions before it that may fail: at a barrier all threads stop if one has failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphexec.abi import BARRIER, DYNAMIC_PIECES_PER_THREAD, FLAG_BITS, SERIAL, Column
from graphexec.ir.failures import may_fail
from graphexec.ir.function import Node
from graphexec.ir.spec import itemsize
from graphexec.lower.kernel_args import KernelSpec
from graphexec.lower.layout import Layout
from graphexec.lower.partition import Partition

BARRIER_NANOSECONDS = 1_000
"""Estimated cost of a barrier, including the time that the other threads wait."""

MAX_ACCESSES = 1_024
"""With more accesses since the last barrier, a barrier is placed without comparing them."""

MAX_THREADS_BY_BYTE = 8
"""Up to this many threads, partitions with different units are compared byte by byte."""

ANY_THREAD, THREAD_0 = 0, 1
"""Owners of bytes: unknown, and thread 0. Higher numbers stand for partitions."""


def worth_threads(specs: Sequence[KernelSpec], barriers: int, threads: int) -> bool:
    """Whether sharing the work saves more time than the barriers cost; starting and ending a run costs two more."""
    saved = (1 - 1 / threads) * sum(spec.work for spec in specs if not spec.serial)
    return bool(saved > BARRIER_NANOSECONDS * (barriers + 2))


def place_barriers(layout: Layout, addresses: np.ndarray, specs: Sequence[KernelSpec], table: np.ndarray, threads: int) -> int:
    """Sets BARRIER in the rows that need it when up to ``threads`` threads run the table; the number of barriers."""
    accesses = _AccessFinder(layout, addresses, threads)
    recent, checks, barriers = _RecentAccesses(), _Checks(layout), 0
    flags: list[int] = table[:, Column.FLAGS].tolist()
    for position, spec in enumerate(specs):
        mine = np.array(accesses.of(position, spec, flags[position]), np.int64).reshape(-1, 4).T
        node, serial = layout.steps[position], bool(flags[position] & SERIAL)
        if recent.conflict(mine) or checks.must_pass(node, serial):
            table[position, Column.FLAGS] |= BARRIER
            recent, barriers = _RecentAccesses(), barriers + 1
            checks.passed()
        recent.add(mine)
        checks.add(node, serial)
    return barriers


class _Checks:
    """The instructions since the last barrier that may fail."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.kept = {layout.storage[leaf.value_id] for leaf in layout.fn.leaves if leaf.role != "constant"}
        self.passed()

    def passed(self) -> None:
        """A barrier: all threads know that none has failed."""
        self.some = self.shared = False

    def add(self, node: Node, serial: bool) -> None:
        if may_fail(node.op):
            self.some, self.shared = True, self.shared or not serial

    def must_pass(self, node: Node, serial: bool) -> bool:
        """Whether a node overwrites state that must stay if one of them fails on another thread."""
        if not self.some or not node.op.updates or (serial and not self.shared):
            return False
        return any(self.layout.storage[target] in self.kept for target in node.update_targets)


class _Access(NamedTuple):
    start: int
    end: int
    written: bool
    owner: int
    """Two accesses with the same owner, unless it is ANY_THREAD, touch every byte with the same thread."""


class _RecentAccesses:
    """The accesses since the last barrier, in columns."""

    def __init__(self) -> None:
        self.columns, self.count = np.empty((4, MAX_ACCESSES), np.int64), 0

    def conflict(self, mine: np.ndarray) -> bool:
        """Whether these accesses need a barrier, or there are too many to compare."""
        if self.count + mine.shape[1] > MAX_ACCESSES:
            self._merge_serial()
            if self.count and self.count + mine.shape[1] > MAX_ACCESSES:
                return True
        start, end, written, owner = mine[:, :, None]
        starts, ends, wrote, owners = self.columns[:, : self.count]
        overlap = (start < ends) & (starts < end) & ((written | wrote) != 0)
        return bool((overlap & ((owner != owners) | (owner == ANY_THREAD))).any())

    def add(self, mine: np.ndarray) -> None:
        fits = mine[:, : MAX_ACCESSES - self.count]
        self.columns[:, self.count : self.count + fits.shape[1]] = fits
        self.count += fits.shape[1]
        if fits.shape[1] < mine.shape[1]:  # a single instruction with too many: one access from its lowest byte to its highest
            self.columns[:, 0], self.count = (mine[0].min(), mine[1].max(), 1, ANY_THREAD), 1

    def _merge_serial(self) -> None:
        """Merges all accesses of thread 0, which are most of them in a program with little to share."""
        columns = self.columns[:, : self.count]
        serial = columns[3] == THREAD_0
        if np.count_nonzero(serial) > 1:
            others = columns[:, ~serial]
            start, end, written, _ = columns[:, serial]
            self.count = others.shape[1] + 1
            self.columns[:, : self.count - 1] = others
            self.columns[:, self.count - 1] = start.min(), end.max(), written.any(), THREAD_0


class _AccessFinder:
    """The memory that instructions touch, and the thread that touches each byte."""

    def __init__(self, layout: Layout, addresses: np.ndarray, threads: int) -> None:
        self.layout, self.threads = layout, threads
        self.addresses: list[int] = addresses.tolist()
        self.ranges: dict[int, tuple[int, int]] = {}
        self.owners: dict[object, int] = {}

    def of(self, position: int, spec: KernelSpec, flags: int) -> list[_Access]:
        """The accesses of an instruction."""
        node = self.layout.steps[position]
        partitions = self._partitions(spec, flags)
        found = []
        for is_output, values in ((False, node.inputs), (True, node.outputs)):
            read = values if is_output else node.reads
            for index, value in enumerate(values):
                if value not in read:
                    continue
                partition = partitions.get((is_output, index))
                owner = THREAD_0 if flags & SERIAL else ANY_THREAD if partition is None else self._owner(value, partition)
                found.append(_Access(*self._range(value), is_output, owner))
        return found

    def _partitions(self, spec: KernelSpec, flags: int) -> dict[tuple[bool, int], Partition | None]:
        """The partition of each operand, None where it is passed with two different ones."""
        found: dict[tuple[bool, int], Partition | None] = {}
        if spec.partitions and flags >> FLAG_BITS < 2 * DYNAMIC_PIECES_PER_THREAD:  # with more, any thread may take a piece
            for operand, partition in zip(spec.operands, spec.partitions, strict=True):
                found[operand] = partition if operand not in found or found[operand] == partition else None
        return found

    def _range(self, value: int) -> tuple[int, int]:
        """The first byte of a value, and the one after its last."""
        if value not in self.ranges:
            view, item = self.layout.views[value], itemsize(self.layout.specs[value].dtype)
            base = self.addresses[self.layout.storage[value]] + view.offset * item
            reach = [(n - 1) * s * item for n, s in zip(view.shape, view.strides, strict=True)]
            low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
            self.ranges[value] = base + low, base + max(high + item, 1)
        return self.ranges[value]

    def _owner(self, value: int, partition: Partition) -> int:
        """A number for the way in which a partition assigns the bytes of a buffer to threads.

        Parts that are inside the rows of a grid over the buffer are taken for whole rows: a thread that has a row in one such
        value has it in all of them.
        """
        if partition.threads < self.threads:
            return ANY_THREAD
        base = self.addresses[self.layout.storage[value]]
        start = self._range(value)[0]
        inside = (start - base) % partition.pitch
        if inside + partition.reach < partition.pitch:
            start -= inside
        key: object = (start, partition.units, partition.pitch)
        if self.threads <= MAX_THREADS_BY_BYTE:
            pieces = range(2, self.threads + 1)
            key = (start, *(partition.pitch * (partition.units * i // n) for n in pieces for i in range(1, n + 1)))
        return self.owners.setdefault(key, len(self.owners) + THREAD_0 + 1)
