"""Movable: a storage that can lie elsewhere from run to run, such as in an array of the caller's.

A kernel finds its operands through addresses in its argument block. To move a storage is to write other addresses there; views and
aliases share the storage, so they move too.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator

import numpy as np

from graphexec.ir.spec import itemsize
from graphexec.lower.program import Program

MAX_SINGLE_WORDS = 16
"""Up to this many words are written one by one, which is then faster than to call NumPy."""


class Movable:
    """A storage of a program, and the words that hold addresses in it. Move it only between two runs."""

    def __init__(self, program: Program, storage: int) -> None:
        layout = program.layout
        self.program, self.storage, self.nbytes = program, storage, layout.bytes[storage]
        self.home: np.ndarray | None = program.buffers.get(storage)
        """The array that it had at first; None if that is a part of the arena."""
        self.start = self.address = int(program.addresses[storage])
        values = program.places[:, 1]
        inside = (values >= 0) & (np.array(layout.storage or [-1], np.int64)[values] == storage)  # an absent operand is below 0
        offsets = [layout.views[v].offset * itemsize(layout.specs[v].dtype) for v in values[inside].tolist()]
        self._words, self._offsets = program.places[inside, 0], np.array(offsets, np.int64)
        self._pairs = list(zip(self._words.tolist(), offsets, strict=True)) if len(offsets) <= MAX_SINGLE_WORDS else None
        self._arguments, self._addresses = program.arguments.data, program.addresses.data

    def move(self, array: np.ndarray, address: int) -> None:
        """Lets the program use an array from now on, which it keeps alive: C-contiguous, aligned, of as many bytes."""
        self._point(address)
        self.program.buffers[self.storage] = array

    def return_home(self) -> None:
        """Undoes `move`, and drops the array."""
        self._point(self.start)
        if self.home is not None:
            self.program.buffers[self.storage] = self.home
        else:
            self.program.buffers.pop(self.storage, None)

    def _point(self, address: int) -> None:
        if address == self.address:
            return
        if self._pairs is None:
            self.program.arguments[self._words] = self._offsets + address
        else:
            for word, offset in self._pairs:
                self._arguments[word] = address + offset
        self.address = self._addresses[self.storage] = address


def movable_inputs(program: Program, least: int) -> dict[str, Movable]:
    """The inputs of at least that many bytes that no instruction writes and that no result kept for later lies in, by name."""
    layout, fn = program.layout, program.fn
    fixed = _kept(program) | _written(program)
    found = ((leaf.name, layout.storage[leaf.value_id]) for leaf in fn.of_role("input"))
    return {name: Movable(program, s) for name, s in found if layout.bytes[s] >= least and s not in fixed}


def movable_results(program: Program, results: Iterable[int], least: int) -> dict[int, Movable]:
    """The results of at least that many bytes that fill a storage of the arena, by value.

    Of several that share a storage only the first can be moved.
    """
    layout, found = program.layout, dict[int, Movable]()
    taken = _kept(program)
    for value in results:
        storage, view = layout.storage[value], layout.views[value]
        whole = view.is_contiguous and view.offset == 0 and layout.specs[value].nbytes == layout.bytes[storage]
        if whole and layout.bytes[storage] >= least and not layout.persistent[storage] and storage not in taken:
            found[value] = Movable(program, storage)
            taken.add(storage)
    return found


def _kept(program: Program) -> set[int]:
    """The storages that are read after a call has returned, or restored when it fails."""
    fn = program.fn
    return {program.layout.storage[v] for v in (*fn.deltas.values(), *fn.saved, *fn.saved.values())}


def _written(program: Program) -> set[int]:
    storage = program.layout.storage
    return {storage[v] for node in program.layout.steps for v in (*node.outputs, *node.update_targets)}


class Ranges:
    """Ranges of addresses, in order; those that overlap or touch are one."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(ranges):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def touch(self, address: int, nbytes: int) -> bool:
        """Whether one of them overlaps the bytes from an address on."""
        if not self._starts:
            return False
        before = bisect.bisect_left(self._starts, address + nbytes)
        return before > 0 and self._ends[before - 1] > address


def written_state(program: Program) -> Ranges:
    """The arrays outside the arena that the program writes."""
    return Ranges(_ranges(program, _written(program)))


def own_memory(program: Program) -> Ranges:
    """All that the program reads and writes: its arena, and the arrays of leaves and constants."""
    arena = program.arena.ctypes.data
    return Ranges([(arena, arena + program.arena.nbytes), *_ranges(program, program.buffers)])


def _ranges(program: Program, storages: Iterable[int]) -> Iterator[tuple[int, int]]:
    for storage in storages:
        if program.layout.persistent[storage]:
            start = int(program.addresses[storage])
            yield start, start + program.layout.bytes[storage]
