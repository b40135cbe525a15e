"""mark_meetings: before which instructions all threads must have finished what came before.

Two instructions conflict when one writes memory that the other uses. They still need no meeting where each thread uses only
what it wrote itself: both are serial, which the first thread does, or both divide that memory among threads in the same way,
as the products and elementwise steps of one layer after the other do, each thread with rows of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphexec.abi import BARRIER, ENOUGH, FLAGS, SERIAL
from graphexec.ir.spec import itemsize
from graphexec.lower.kernel_args import Cut, KernelSpec
from graphexec.lower.layout_assignment import Layout

MANY = 1_024
"""Accesses since the last meeting beyond which threads meet without a closer look."""

FEW_THREADS = 8
"""Threads up to which it is looked for cuts that fall on the same bytes though their units differ."""

ANYBODY, FIRST = 0, 1
"""Owners: no rule says which thread touches a byte; the first thread touches all."""


class _Access(NamedTuple):
    start: int
    end: int
    written: bool
    owner: int
    """A number that two accesses share if every byte is touched by the same thread in both."""


def place_barriers(layout: Layout, addresses: np.ndarray, chosen: Sequence[KernelSpec], table: np.ndarray, threads: int) -> int:
    """Sets MEET in the rows of a program that needs it for up to so many threads; how many there are."""
    accesses = _Accesses(layout, addresses, threads)
    since, meets = _Since(), 0
    for position, template in enumerate(chosen):
        mine = np.array(accesses.of(position, template, int(table[position, 2])), np.int64).reshape(-1, 4).T
        if since.conflicts(mine):
            table[position, 2] |= BARRIER
            since, meets = _Since(), meets + 1
        since.add(mine)
    return meets


class _Since:
    """The accesses since the last meeting, in columns."""

    def __init__(self) -> None:
        self.columns, self.count = np.empty((4, MANY), np.int64), 0

    def conflicts(self, mine: np.ndarray) -> bool:
        """Whether these touch what others wrote or write what others touched, or there are too many to tell."""
        if self.count + mine.shape[1] > MANY:
            self._shorten()
            if self.count and self.count + mine.shape[1] > MANY:
                return True
        start, end, written, owner = mine[:, :, None]
        starts, ends, wrote, owners = self.columns[:, : self.count]
        overlap = (start < ends) & (starts < end) & ((written | wrote) != 0)
        return bool((overlap & ((owner != owners) | (owner == ANYBODY))).any())

    def add(self, mine: np.ndarray) -> None:
        fits = mine[:, :MANY - self.count]
        self.columns[:, self.count : self.count + fits.shape[1]] = fits
        self.count += fits.shape[1]
        if fits.shape[1] < mine.shape[1]:  # of one instruction: from the lowest byte to the highest, by anybody
            self.columns[:, 0], self.count = (mine[0].min(), mine[1].max(), 1, ANYBODY), 1

    def _shorten(self) -> None:
        """Makes one of all that the first thread did, of which there are many where little is shared."""
        columns = self.columns[:, : self.count]
        first = columns[3] == FIRST
        if np.count_nonzero(first) > 1:
            others = columns[:, ~first]
            start, end, written, _ = columns[:, first]
            self.count = others.shape[1] + 1
            self.columns[:, : self.count - 1] = others
            self.columns[:, self.count - 1] = start.min(), end.max(), written.any(), FIRST


class _Accesses:
    """What memory instructions touch."""

    def __init__(self, layout: Layout, addresses: np.ndarray, threads: int) -> None:
        self.layout, self.threads = layout, threads
        self.addresses: list[int] = addresses.tolist()
        self.ranges: dict[int, tuple[int, int]] = {}
        self.owners: dict[object, int] = {}

    def of(self, position: int, template: KernelSpec, flags: int) -> list[_Access]:
        node = self.layout.steps[position]
        pieces = flags >> FLAGS
        cuts: dict[tuple[bool, int], Cut | None] = {}
        if template.cuts and pieces < 2 * ENOUGH:  # with more, a piece belongs to who comes first
            for operand, cut in zip(template.operands, template.cuts, strict=True):
                cuts[operand] = cut if operand not in cuts or cuts[operand] == cut else None
        found = []
        for is_output, values in ((False, node.inputs), (True, node.outputs)):
            read = values if is_output else node.reads
            for which, value in enumerate(values):
                if value not in read:
                    continue
                cut = cuts.get((is_output, which))
                owner = FIRST if flags & SERIAL else ANYBODY if cut is None else self.owner(value, cut)
                found.append(_Access(*self.range(value), is_output, owner))
        return found

    def range(self, value: int) -> tuple[int, int]:
        """The first byte of a value, and the one after its last."""
        if value not in self.ranges:
            view, item = self.layout.views[value], itemsize(self.layout.specs[value].dtype)
            base = self.addresses[self.layout.storage[value]] + view.offset * item
            reach = [(n - 1) * s * item for n, s in zip(view.shape, view.strides, strict=True)]
            low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
            self.ranges[value] = base + low, base + max(high + item, 1)
        return self.ranges[value]

    def owner(self, value: int, cut: Cut) -> int:
        """Of parts that lie within rows of a grid over the buffer, who has a row has it in all such values."""
        if cut.threads < self.threads:
            return ANYBODY
        base = self.addresses[self.layout.storage[value]]
        start = self.range(value)[0]
        inside = (start - base) % cut.pitch
        if inside + cut.reach < cut.pitch:
            start -= inside
        key: object = (start, cut.units, cut.pitch)
        if self.threads <= FEW_THREADS:
            pieces = range(2, self.threads + 1)
            key = (start, *(cut.pitch * (cut.units * i // n) for n in pieces for i in range(1, n + 1)))
        return self.owners.setdefault(key, len(self.owners) + FIRST + 1)
