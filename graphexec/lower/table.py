"""A program's table and argument blocks, filled in with NumPy for all instructions of a spec at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphexec.abi import FLAG_BITS, SERIAL, SPLIT, Column
from graphexec.ir.spec import itemsize
from graphexec.lower.alignment import aligned
from graphexec.lower.kernel_args import SCRATCH, KernelSpec
from graphexec.lower.layout import Layout


class _Group:
    """The instructions of one spec: their positions, and where their argument blocks start, in words."""

    def __init__(self, spec: KernelSpec) -> None:
        self.spec = spec
        self.positions: list[int] = []
        self.starts = np.empty(0, np.int64)


class TableBuilder:
    """Allocates the table and the argument blocks, then fills in what depends on addresses.

    ``table`` has a row for each instruction (see `graphexec.abi.Column`); ``arguments`` holds all argument blocks; ``places`` are
    pairs of a word there and the value whose address it holds.
    """

    def __init__(self, layout: Layout, specs: Sequence[KernelSpec]) -> None:
        self._layout = layout
        self._groups: dict[int, _Group] = {}  # by the spec's id: many instructions share one
        self.table = np.empty((len(specs), len(Column)), np.int64)
        self.places = np.empty((0, 2), np.int64)
        for position, spec in enumerate(specs):
            self._add(spec, position)
        starts = np.zeros(len(specs) + 1, np.int64)
        np.cumsum([spec.words.size for spec in specs], out=starts[1:])
        self.arguments = np.zeros(int(starts[-1]) or 1, np.int64)
        for group in self._groups.values():
            self._write(group, starts[group.positions])
        self.table[:, Column.ARGUMENTS] = self.arguments.ctypes.data + starts[:-1] * 8

    def _add(self, spec: KernelSpec, position: int) -> None:
        group = self._groups.get(id(spec))
        if group is None:
            group = self._groups[id(spec)] = _Group(spec)
        group.positions.append(position)

    def _write(self, group: _Group, starts: np.ndarray) -> None:
        """Copies a spec's words and flags to all of its instructions."""
        spec, group.starts = group.spec, starts
        flags = SERIAL if spec.serial else spec.pieces << FLAG_BITS | spec.split_axis * SPLIT
        self.table[group.positions, Column.KERNEL] = spec.kernel.address
        self.table[group.positions, Column.FLAGS] = flags
        self.arguments[starts[:, None] + np.arange(spec.words.size)] = spec.words

    def patch_addresses(self, addresses: np.ndarray) -> None:
        """Fills in the addresses of operands, given those of all storages, and of words that blocks link to."""
        by_value = self._value_addresses(addresses)
        steps, arguments = self._layout.steps, self.arguments
        places: list[np.ndarray] = []
        for group in self._groups.values():
            spec, starts = group.spec, group.starts
            values = np.array([(*steps[p].inputs, *steps[p].outputs) for p in group.positions])
            inputs = len(steps[group.positions[0]].inputs)
            for slot, operand in zip(spec.slots, spec.operands, strict=True):
                if operand != SCRATCH:
                    column = inputs + operand.index if operand.is_output else operand.index
                    arguments[starts + slot] = by_value[values[:, column]]
                    places.append(np.stack([starts + slot, values[:, column]], axis=1))
            for word, target in spec.links:
                arguments[starts + word] = arguments.ctypes.data + (starts + target) * 8
        self.places = np.concatenate(places) if places else self.places

    def _value_addresses(self, addresses: np.ndarray) -> np.ndarray:
        layout = self._layout
        storage, offsets = np.array(layout.storage or [0]), np.array([v.offset for v in layout.views] or [0], np.int64)
        items = np.array([1 if s is None else itemsize(s.dtype) for s in layout.specs] or [1], np.int64)  # None: pruned
        found: np.ndarray = addresses[storage] + offsets * items
        return found

    def patch_scratch(self, threads: int) -> np.ndarray | None:
        """Allocates the memory that kernels use while they run, and fills in its addresses.

        Thread k's part begins k times as many bytes further as the kernel needs. With several threads, kernels that need
        different amounts get separate memory, so that no barrier is needed merely because one starts in the scratch memory
        of another that some threads have not finished.
        """
        uses = [
            (group, slot, int(group.spec.words[slot]))
            for group in self._groups.values()
            for slot, operand in zip(group.spec.slots, group.spec.operands, strict=True)
            if operand == SCRATCH
        ]
        needs = sorted({need for _, _, need in uses})
        if not needs:
            return None
        sizes = [need * threads for need in needs]
        scratch = aligned(sum(sizes) if threads > 1 else max(sizes))
        starts = np.cumsum([0, *sizes[:-1]]) if threads > 1 else np.zeros(len(needs), np.int64)
        start_of = dict(zip(needs, starts.tolist(), strict=True))
        for group, slot, need in uses:
            self.arguments[group.starts + slot] = scratch.ctypes.data + start_of[need]
        return scratch
