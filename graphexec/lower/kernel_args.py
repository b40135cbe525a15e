"""Argument blocks: the words that a kernel reads, and the specs made from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from graphexec.codegen.kernels import Kernel
from graphexec.codegen.operands import SAME, STRIDED, UNIT, Operand
from graphexec.codegen.writer import VECTORS
from graphexec.ir.spec import Size
from graphexec.llvm import toolchain
from graphexec.lower.partition import Partition, partition_along

MIN_SHARED_NANOSECONDS = 1_500
"""Instructions with less estimated work stay on one thread: sharing them would cost more than it saves."""

MIN_PIECE_NANOSECONDS = 20_000
"""Least estimated work of a piece that threads take one at a time; taking one costs about 100 ns."""

MAX_PIECES = 4_095
"""Pieces of one instruction: plenty for any number of threads, and as many as the thread pool can count."""


class OperandSlot(NamedTuple):
    """The value that a pointer in an argument block refers to: an input or an output of the node, or scratch memory."""

    is_output: bool
    index: int  # type: ignore[assignment]  # the name of a method of tuples that nobody calls


SCRATCH = OperandSlot(False, -1)
"""Scratch memory; until it is allocated, the word holds the bytes that each thread needs."""


def operand_slots(inputs: Iterable[int], outputs: Iterable[int]) -> list[OperandSlot]:
    """The slots of a node's inputs and outputs with these indices, inputs first."""
    return [*(OperandSlot(False, k) for k in inputs), *(OperandSlot(True, k) for k in outputs)]


class KernelSpec(NamedTuple):
    """A kernel, and its argument block without addresses: what all nodes of one op and layout share."""

    kernel: Kernel
    words: np.ndarray
    slots: tuple[int, ...]
    """Positions of the words that hold the operands' addresses."""
    operands: tuple[OperandSlot, ...]
    """The operand of each slot."""
    shareable: bool
    """Whether the kernel can do its work in pieces."""
    serial: bool
    """Thread 0 runs it alone: the work is too small to share, or the kernel cannot share it."""
    work: float = 0.0
    """Estimated nanoseconds on one thread."""
    links: tuple[tuple[int, int], ...] = ()
    """(word, target): words that hold the address of another word of the block."""
    pieces: int = 1
    """The number of pieces of a worthwhile size that the work can be cut into."""
    partitions: tuple[Partition | None, ...] = ()
    """How each operand is divided when every thread gets one piece; None if any thread may touch any part of it."""
    split_axis: int = 0
    """The axis along which the kernel is told to cut, if it can cut several (`graphexec.gemm.partition.strips`)."""


def vectors_for(shape: Sequence[int], sizes: Sequence[int], item: int) -> int:
    """Vectors per step of a loop: for a short axis of declared size, as many as leave no remainder."""
    n, lanes = sizes[-1], max(toolchain.vector_bytes() // item, 1)
    if (len(sizes) == 1 and not fixed_size(shape, sizes, item)) or n >= 2 * VECTORS * lanes or not is_declared(shape, n):
        return VECTORS
    return next(v for v in (VECTORS, VECTORS // 2, 1) if n % (v * lanes) == 0 or v == 1)


def fixed_size(shape: Sequence[int], sizes: Sequence[int], item: int) -> int:
    """The number of elements, if it is declared and a few whole vectors or a fraction of one; else 0."""
    n, lanes = int(sizes[-1]), max(toolchain.vector_bytes() // item, 1)
    if len(sizes) > 1 or not 0 < n <= VECTORS * lanes or any(isinstance(size, Size) for size in shape):
        return 0
    return n if n % lanes == 0 or lanes % n == 0 else 0


def is_declared(shape: Sequence[int], n: int) -> bool:
    """Whether the last axes, ``n`` elements together, have sizes that are part of the graph."""
    span = 1
    for size in reversed(shape):
        if span < n and isinstance(size, Size):
            return False
        span *= int(size)
    return True


def movement(stride: int) -> str:
    """How a kernel moves along its innermost axis over an operand of this stride."""
    return UNIT if stride == 1 else SAME if stride == 0 else STRIDED


class ArgumentBlock:
    """An argument block under construction: words in the order in which the kernel reads them, the loop sizes first."""

    def __init__(self, sizes: Iterable[int] = ()) -> None:
        self.sizes = [int(n) for n in sizes]
        self.words: list[int] = list(self.sizes)
        self.slots: list[int] = []
        self.operands: list[OperandSlot] = []
        self.moves: list[Sequence[int]] = []
        """For each slot, the bytes from one element of its operand to the next along each axis; () if unknown."""
        self._fields: dict[str, int] = {}
        self._links: list[tuple[str, str]] = []

    def mark(self, field: str) -> None:
        """Names the next word."""
        self._fields[field] = len(self.words)

    def link(self, field: str, target: str) -> None:
        """Stores the address of the word named ``target`` in the word named ``field``."""
        self._links.append((field, target))

    def address(self, operand: OperandSlot) -> None:
        """Adds the address of an operand."""
        self._slot(operand, 0, ())

    def scratch(self, nbytes: int) -> None:
        """Adds the address of scratch memory, ``nbytes`` for each thread."""
        self._slot(SCRATCH, nbytes, ())

    def _slot(self, operand: OperandSlot, word: int, moves: Sequence[int]) -> None:
        self.slots.append(len(self.words))
        self.operands.append(operand)
        self.moves.append(moves)
        self.words.append(word)

    def operand(self, slot: OperandSlot, moves: Sequence[int], operand: Operand) -> None:
        """Adds the address of an operand and its strides: the bytes from one element to the next along each axis."""
        self._slot(slot, 0, moves)
        self.words += [int(m) for m in moves[:-1]]
        if operand.inner == STRIDED:
            self.words.append(int(moves[-1]))

    def numbers(self, values: Sequence[float], dtypes: Sequence[str]) -> None:
        """Adds the attributes that are data: floats as the bits of a float64."""
        for value, dtype in zip(values, dtypes, strict=True):
            as_float = dtype[0] == "f"
            self.words.append(int(np.float64(value).view(np.int64)) if as_float else int(value))

    def append(self, other: ArgumentBlock) -> None:
        """Adds all words of another block, which has neither marks nor links."""
        first = len(self.words)
        self.words += other.words
        self.slots += [first + slot for slot in other.slots]
        self.operands += other.operands
        self.moves += other.moves

    def partitions(self, axis: int, unit: int) -> tuple[Partition | None, ...]:
        """How a kernel that cuts an axis at multiples of ``unit`` elements divides each operand."""
        return tuple(partition_along(self.sizes, moves, axis, unit) for moves in self.moves)

    def spec(
        self, kernel: Kernel, work: float, *, shareable: bool = True, units: float = 1,
        partitions: tuple[Partition | None, ...] = (), split_axis: int = 0,
    ) -> KernelSpec:  # fmt: skip
        """The spec of a kernel with these arguments.

        ``work``, in estimated nanoseconds, decides whether threads share the instruction, and together with ``units`` into
        how many pieces it is cut: a piece is a whole number of units.
        """
        serial = not shareable or work < MIN_SHARED_NANOSECONDS
        links = tuple((self._fields[field], self._fields[target]) for field, target in self._links)
        return KernelSpec(
            kernel, np.array(self.words, np.int64), tuple(self.slots), tuple(self.operands), shareable, serial, work,
            links, _pieces(work, units), partitions, split_axis,
        )  # fmt: skip


def _pieces(work: float, units: float) -> int:
    """The number of pieces, each with the same number of units as nearly as possible."""
    pieces = max(int(min(units, work / MIN_PIECE_NANOSECONDS, MAX_PIECES)), 1)
    return math.ceil(units / math.ceil(units / pieces)) if pieces < units else pieces
