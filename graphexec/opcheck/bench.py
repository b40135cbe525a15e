"""An instrumented executor: runs a function kernel by kernel in memory of its own, and watches what the kernels touch.

Every buffer lies between guard words. Before a run, the memory that the kernels have to write, the guard words and the scratch
memory are filled with patterns. If a result changes with a pattern, a kernel has read what nobody wrote, or has read outside of
its operands; an element that holds the pattern afterwards was not written; a changed guard word was written outside. The pieces
of a parallel kernel run in any order, or at the same time.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from graphexec.abi import FLAG_BITS, SPLIT, SPLIT_MASK, STRIPS, Column
from graphexec.ir.function import Function, Node
from graphexec.ir.infer import infer
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.spec import itemsize
from graphexec.lower import lower
from graphexec.lower.alignment import aligned, aligned_array
from graphexec.lower.kernel_args import SCRATCH
from graphexec.rewrite import OPTIONAL, optimize
from graphexec.rewrite.legalize.inline_composites import inline_composites

GUARD = 1024
"""Bytes of guard words on either side of a buffer."""
NANS, NUMBERS = 0xFF, 0x41
"""Two patterns: NaN in every floating type and -1 in integers; 12.08 in float32, 2261634.5 in float64, and large integers."""
MAX_PIECES = 8

KERNEL = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Fill(NamedTuple):
    """What memory holds before a run."""

    outputs: int = NANS
    guards: int = NUMBERS
    scratch: int = NUMBERS


USUAL = Fill()


class Kept(NamedTuple):
    """A result of a run: its elements, and where they are the pattern that was there before."""

    array: np.ndarray
    untouched: np.ndarray


class Trouble(NamedTuple):
    """What a run found besides its results: the node that did it, the buffer, and where."""

    node: Node
    what: str


@dataclass
class Run:
    """The results of one run by name."""

    results: dict[str, Kept] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    status: int = 0
    failed: Node | None = None


class Bench:
    """A function without optimization, lowered once; it is run again and again."""

    def __init__(self, fn: Function, arrays: Mapping[str, np.ndarray], wanted: Mapping[str, int]) -> None:
        fn = inline_composites(infer(fn, {}))
        outputs = dict(wanted)
        fn = fn.with_nodes(fn.nodes, outputs=outputs)
        fn = optimize(fn, range(len(fn.names)), OPTIONAL)
        fn = infer(fn, {})
        buffers = {leaf.name: aligned_array(arrays[leaf.name]) for leaf in fn.leaves if leaf.role != "constant"}
        self.wanted = {name: fn.outputs[name] for name in outputs}
        self.program = lower(fn, buffers, self.wanted.values(), reuse=False)
        self.fn, self.layout = fn, self.program.layout
        self._starts = (self.program.table[:, Column.ARGUMENTS] - self.program.arguments.ctypes.data) // 8
        self._place()

    # -- memory

    def _place(self) -> None:
        """Gives every storage, and the scratch memory of every kernel, memory between guard words; patches the arguments."""
        self._memory: list[np.ndarray] = []
        for nbytes in self.layout.bytes:
            self._memory.append(aligned(nbytes + 2 * GUARD + -nbytes % 64))
        self._scratch: list[tuple[np.ndarray, int]] = []
        arguments = self.program.arguments
        for start, instruction in zip(self._starts, self.program.instructions, strict=True):
            spec, node = instruction.spec, instruction.node
            for slot, operand in zip(spec.slots, spec.operands, strict=True):
                if operand == SCRATCH:
                    need = int(spec.words[slot])
                    block = aligned(need * MAX_PIECES + 2 * GUARD)
                    self._scratch.append((block, need))
                    arguments[start + slot] = block.ctypes.data + GUARD
                else:
                    value = node.outputs[operand.index] if operand.is_output else node.inputs[operand.index]
                    arguments[start + slot] = self._address(value)

    def _address(self, value: int) -> int:
        view, spec = self.layout.views[value], self.layout.specs[value]
        return int(self._memory[self.layout.storage[value]].ctypes.data + GUARD + view.offset * itemsize(spec.dtype))

    def _inner(self, storage: int) -> np.ndarray:
        return self._memory[storage][GUARD : GUARD + self.layout.bytes[storage]]

    def _fill(self, fill: Fill) -> None:
        for storage, memory in enumerate(self._memory):
            inner = self._inner(storage)
            memory[:] = fill.guards
            source = self.program.buffers.get(storage)
            if source is None:
                inner[:] = fill.outputs
            else:
                inner[:] = np.ascontiguousarray(source).reshape(-1).view(np.uint8)
        for block, _ in self._scratch:
            block[:] = fill.guards
            block[GUARD:-GUARD] = fill.scratch

    def array(self, value: int) -> np.ndarray:
        """A value's elements in the memory of the bench."""
        return self._as_array(self._inner(self.layout.storage[value]), value)

    def _as_array(self, memory: np.ndarray, value: int) -> np.ndarray:
        view, spec = self.layout.views[value], self.layout.specs[value]
        base = memory.view(spec.dtype)[view.offset :]
        return np.lib.stride_tricks.as_strided(base, tuple(map(int, view.shape)), [int(s) * base.itemsize for s in view.strides])

    # -- running

    before_run: ClassVar[Callable[[], None]] = staticmethod(lambda: None)
    """Called before each run; a process that watches this one is told so that compilation is over."""

    def run(
        self, fill: Fill = USUAL, pieces: int = 1, order: Callable[[int], Sequence[int]] = range, threads: bool = False
    ) -> Run:
        """Runs every kernel in ``pieces`` pieces: one after another, in an order, or at the same time on ``threads``."""
        Bench.before_run()
        self._fill(fill)
        done = Run()
        for number, instruction in enumerate(self.program.instructions):
            node = instruction.node
            before = {self.layout.storage[v]: self._inner(self.layout.storage[v]).copy() for v in node.reads}
            parts = pieces if instruction.spec.shareable and self._divisible(node) else 1
            status = self._call(number, parts, order(parts), threads and parts > 1)
            self._watch(node, before, fill, done)
            if status:
                done.status, done.failed = status, node
                break
        for name, value in self.wanted.items():
            found = self.array(value)
            pattern = np.full(found.nbytes, fill.outputs, np.uint8).view(found.dtype).reshape(found.shape)
            untouched = _bits(found) == _bits(pattern)
            if self.program.buffers.get(self.layout.storage[value]) is not None:
                untouched = np.zeros_like(untouched)
            done.results[name] = Kept(np.array(found), untouched)
        return done

    def _divisible(self, node: Node) -> bool:
        """Whether several threads may run an instruction: a loop without axes does the same for every piece."""
        return isinstance(node.op, KernelOp) or any(self.layout.specs[v].size > 1 for v in (*node.outputs, *node.reads))

    def call_once(self) -> None:
        """Calls every kernel, without a look at what it does."""
        for number in range(len(self.program.instructions)):
            self._call(number, 1, range(1), False)

    def _call(self, number: int, pieces: int, order: Sequence[int], threads: bool) -> int:
        row = self.program.table[number]
        kernel, arguments = KERNEL(int(row[Column.KERNEL])), int(row[Column.ARGUMENTS])
        split = (int(row[Column.FLAGS]) // SPLIT & SPLIT_MASK) if int(row[Column.FLAGS]) >> FLAG_BITS else 0
        count = pieces | split << STRIPS if pieces > 1 else pieces
        if not threads:
            return next((s for s in [int(kernel(arguments, k, count, k)) for k in order] if s), 0)
        found: list[int] = []
        together = threading.Barrier(pieces)

        def work(piece: int) -> None:
            together.wait()
            found.append(int(kernel(arguments, piece, count, piece)))

        workers = [threading.Thread(target=work, args=(k,)) for k in range(pieces)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return next((s for s in found if s), 0)

    def _watch(self, node: Node, before: Mapping[int, np.ndarray], fill: Fill, done: Run) -> None:
        """Notes written guard words, and operands that have changed."""
        written = {self.layout.storage[v] for v in node.outputs}
        for storage, memory in enumerate(self._memory):
            low, high = memory[:GUARD], memory[GUARD + self.layout.bytes[storage] :]
            for side, guard in (("before the start", low), ("beyond the end", high)):
                if (guard != fill.guards).any():
                    done.troubles.append(Trouble(node, f"writes {side} of {self._name(storage)}"))
                    guard[:] = fill.guards
        for block, _ in self._scratch:
            for guard in (block[:GUARD], block[-GUARD:]):
                if (guard != fill.guards).any():
                    done.troubles.append(Trouble(node, "writes outside of its scratch memory"))
                    guard[:] = fill.guards
        for storage, copy in before.items():
            if storage not in written and not np.array_equal(copy, self._inner(storage)):
                done.troubles.append(Trouble(node, f"changes its operand {self._name(storage)}"))

    def _name(self, storage: int) -> str:
        names = [self.layout.names[v] for v, s in enumerate(self.layout.storage) if s == storage and self.layout.names[v]]
        return repr(names[0]) if names else "a buffer"


def _bits(array: np.ndarray) -> np.ndarray:
    whole: Any = np.ascontiguousarray(array)
    return whole.view(f"u{whole.itemsize}").reshape(array.shape)  # type: ignore[no-any-return]


def same_bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two arrays have the same bits; all NaNs count as one."""
    equal: np.ndarray = _bits(a) == _bits(b)
    return equal | (np.isnan(a) & np.isnan(b)) if a.dtype.kind == "f" else equal


def orders() -> Iterator[tuple[int, str, Callable[[int], Sequence[int]]]]:
    """Numbers of pieces, and orders in which they run."""
    for pieces in (2, 3, 7):
        yield pieces, f"{pieces} pieces", range
    yield 3, "3 pieces, the last first", lambda n: range(n)[::-1]
    yield 7, "7 pieces, the last first", lambda n: range(n)[::-1]
