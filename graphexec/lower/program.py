"""Program: a table of kernels and argument blocks, ready to run.

Nothing in a program refers to Python: an instruction is the address of a kernel and the address of its argument block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from graphexec.abi import ALIGNMENT
from graphexec.codegen.kernels import Kernel
from graphexec.errors import DataError
from graphexec.ir.function import Function, Node
from graphexec.ir.spec import itemsize, shape_text
from graphexec.lower.alignment import aligned, aligned_array
from graphexec.lower.barriers import place_barriers, worth_threads
from graphexec.lower.buffer_assignment import BufferAssignment
from graphexec.lower.kernel_args import KernelSpec
from graphexec.lower.layout import Layout
from graphexec.lower.table import TableBuilder


class Instruction(NamedTuple):
    """One line of the listing; the runtime reads only the table."""

    kernel: Kernel
    node: Node
    spec: KernelSpec


@dataclass
class Program:
    """A lowered function: ``table`` has a row for each instruction (see `graphexec.abi.Column`)."""

    fn: Function
    layout: Layout
    memory: BufferAssignment
    instructions: list[Instruction]
    table: np.ndarray
    arguments: np.ndarray
    """The argument blocks of all instructions."""
    arena: np.ndarray
    addresses: np.ndarray
    """The address of each storage."""
    places: np.ndarray
    """Pairs of a word of ``arguments`` and the value whose address it holds."""
    buffers: dict[int, np.ndarray] = field(default_factory=dict)
    """Arrays by storage: leaves and constants, and what `Movable` has moved out of the arena."""
    scratch: np.ndarray | None = None
    parallel: bool = False
    """Whether several threads run it faster than one, as far as its work can tell."""

    @property
    def nbytes(self) -> int:
        """Its memory without inputs and parameters."""
        scratch = 0 if self.scratch is None else self.scratch.nbytes
        return self.table.nbytes + self.arguments.nbytes + self.arena.nbytes + scratch

    def array(self, value: int) -> np.ndarray:
        """A value's memory as an array, without a copy; valid after a run, for values that are kept."""
        storage, view, spec = self.layout.storage[value], self.layout.views[value], self.layout.specs[value]
        base = self.buffers.get(storage)
        if base is None:
            start = self.memory.offsets[storage]
            base = self.arena[start : start + self.layout.bytes[storage]].view(spec.dtype)
        flat = base.reshape(-1).view(spec.dtype)[view.offset :]
        strides = [s * base.itemsize for s in view.strides]
        return np.lib.stride_tricks.as_strided(flat, tuple(int(n) for n in view.shape), strides)

    def listing(self) -> str:
        """The program as numbered text: each kernel with the values it reads and writes, and their offsets in the arena."""
        lines = []
        for number, instruction in enumerate(self.instructions):
            node = instruction.node
            outs = ", ".join(self._operand(v) for v in node.outputs)
            ins = ", ".join(self._operand(v) for v in node.reads)
            mark = "" if instruction.spec.serial else "  [threads]"
            lines.append(f"{number:4d}  {node.op.name:<18} {outs} <- {ins}{mark}")
        kernels = len({i.kernel.name for i in self.instructions})
        lines.append(
            f"{len(self.instructions)} instructions, {kernels} kernels, arena {self.memory.arena} bytes "
            f"({self.memory.without_reuse} without reuse)"
        )
        return "\n".join(lines)

    def _operand(self, value: int) -> str:
        offset = self.memory.offsets[self.layout.storage[value]]
        place = f"@{offset}" if offset >= 0 else ""
        return f"{self.layout.names[value]}{shape_text(int(n) for n in self.layout.specs[value].shape)}{place}"

    def __str__(self) -> str:
        return self.listing()

    def check(self) -> None:
        """Proves that every view is inside its buffer, and that nothing overwrites a value between its definition and its uses.

        *Raises* AssertionError: a failure is a bug in lowering, not in the user's graph.
        """
        owner: dict[int, int] = {}  # by cache line of the arena: the storage written there last
        for number, instruction in enumerate(self.instructions):
            node = instruction.node
            for value in node.reads:
                self._check_inside(value, number)
                storage = self.layout.storage[value]
                if self.memory.offsets[storage] >= 0:
                    for line in self._lines(storage):
                        if owner.get(line) != storage:
                            raise _bug(f"instruction {number} reads {self.layout.names[value]!r}, which is overwritten")
            for value in node.outputs:
                self._check_inside(value, number)
                storage = self.layout.storage[value]
                if self.memory.offsets[storage] >= 0:
                    owner.update(dict.fromkeys(self._lines(storage), storage))

    def _lines(self, storage: int) -> range:
        start = self.memory.offsets[storage] // ALIGNMENT
        return range(start, start + max(-(-self.layout.bytes[storage] // ALIGNMENT), 1))

    def _check_inside(self, value: int, number: int) -> None:
        view, spec = self.layout.views[value], self.layout.specs[value]
        storage = self.layout.storage[value]
        if spec.size == 0:
            return
        reach = [(n - 1) * s for n, s in zip(view.shape, view.strides, strict=True)]
        low = view.offset + sum(min(r, 0) for r in reach)
        high = view.offset + sum(max(r, 0) for r in reach)
        size = self.layout.bytes[storage] // itemsize(spec.dtype)
        if not 0 <= low <= high < size:
            raise _bug(f"instruction {number}: {self.layout.names[value]!r} leaves its buffer")
        offset = self.memory.offsets[storage]
        if offset >= 0 and offset + self.layout.bytes[storage] > self.memory.arena:
            raise _bug(f"instruction {number} leaves the arena")


def _bug(what: str) -> AssertionError:
    """Raised also where `python -O` drops assert statements: it guards memory."""
    return AssertionError(what)


def assemble(
    layout: Layout, memory: BufferAssignment, specs: Sequence[KernelSpec], buffers: Mapping[str, np.ndarray], threads: int
) -> Program:
    """Allocates the arena and fills in the table for up to ``threads`` threads; ``specs`` has one for each step."""
    arena, persistent = aligned(memory.arena), _persistent(layout, buffers)
    addresses = _storage_addresses(memory, arena, persistent)
    builder = TableBuilder(layout, specs)
    parallel = False
    if threads > 1 and not all(spec.serial for spec in specs):
        barriers = place_barriers(layout, addresses, specs, builder.table, threads)
        parallel = worth_threads(specs, barriers, threads)
    builder.patch_addresses(addresses)
    scratch = builder.patch_scratch(threads if parallel else 1)
    instructions = [Instruction(spec.kernel, node, spec) for spec, node in zip(specs, layout.steps, strict=True)]
    return Program(
        layout.fn, layout, memory, instructions, builder.table, builder.arguments, arena, addresses, builder.places, persistent,
        scratch, parallel,
    )  # fmt: skip


def _storage_addresses(memory: BufferAssignment, arena: np.ndarray, persistent: Mapping[int, np.ndarray]) -> np.ndarray:
    offsets = np.array(memory.offsets or [-1], np.int64)
    addresses = np.where(offsets >= 0, arena.ctypes.data + offsets, 0)
    for storage, array in persistent.items():
        addresses[storage] = array.ctypes.data
    return addresses


def _persistent(layout: Layout, buffers: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    """The arrays of leaves and constants by storage."""
    arrays = {s: aligned_array(a) for s, a in layout.constants.items()}
    for leaf in layout.fn.leaves:
        if leaf.role != "constant":
            array = buffers[leaf.name]
            spec = layout.specs[leaf.value_id]
            if array.shape != spec.shape or array.dtype != spec.dtype or not (array.flags.c_contiguous and array.flags.aligned):
                raise DataError(
                    f"the array of {leaf.role} {leaf.name!r} does not fit the program", source=leaf.location,
                    facts=[f"program {spec}", f"array {shape_text(array.shape)} {array.dtype}"],
                    todo="Give a C-contiguous array of this shape and element type.",
                )  # fmt: skip
            arrays[layout.storage[leaf.value_id]] = array
    return arrays
