"""What the templates of all kinds of kernel are made with: records, operands, the calls of an op."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from graphexec.codegen import kernels
from graphexec.codegen.kernels import Kernel
from graphexec.codegen.operands import SAME, STRIDED, UNIT, Operand
from graphexec.codegen.writer import VECTORS
from graphexec.ir.function import Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.spec import Size
from graphexec.llvm import toolchain
from graphexec.lower.layout_assignment import Layout

SERIAL_BELOW = 1_500
"""Nanoseconds of estimated work below which an instruction stays on one thread: sharing it would cost more than it saves."""


PIECE = 20_000
"""Nanoseconds of estimated work that a piece should take which threads take one by one: taking it costs a hundred."""

MOST_THREADS = 1 << 16
"""More than there ever are."""

MOST_PIECES = 4_095
"""Of an instruction; many for any number of threads, and what the crew can count."""


class Cut(NamedTuple):
    """How threads divide an operand among themselves: of ``units`` parts, ``pitch`` bytes apart, thread i of n touches those
    from ``units * i // n`` to ``units * (i + 1) // n`` and nothing else.
    """

    units: int
    pitch: int
    reach: int
    """Bytes from the first element of a part to its last, fewer than ``pitch``."""
    threads: int
    """The most threads for which that is so."""


class KernelSpec(NamedTuple):
    """What nodes of one op and layout have in common: a kernel, and a record in which the addresses are missing."""

    kernel: Kernel
    words: np.ndarray
    slots: tuple[int, ...]
    """Where in the record the addresses go."""
    operands: tuple[tuple[bool, int], ...]
    """What they are the addresses of: (output?, index among the node's inputs or outputs)."""
    serial: bool
    """Too small to share, or not made to be shared."""
    work: float = 0.0
    """Estimated nanoseconds on one thread."""
    inside: tuple[tuple[int, int], ...] = ()
    """Words that hold the address of another word of the record: (which, of which)."""
    pieces: int = 1
    """Into how many pieces it can be cut that are worth taking one by one."""
    cuts: tuple[Cut | None, ...] = ()
    """How each operand is divided where every thread gets one piece; None where any thread may touch any of it."""
    kind: int = 0
    """What the kernel is told of such pieces: of a product, in which direction it is cut (`native.gemm_cut.strips`)."""


def calls_of(layout: Layout, node: Node, op: ElementwiseOp) -> tuple[tuple[BodyCall, ...], list[float], tuple[str, ...]]:
    """What is done to an element, and the attributes that are numbers with their types."""
    specs = [layout.specs[v] for v in node.inputs]
    if not isinstance(op, FusedOp):
        dtype = op.promoted(specs)
        constants, numbers, words, _ = kernels.split_attributes(op, node.attributes, dtype)
        operands = [ScalarRef("operand", k) for k in range(len(specs))]
        arguments = (*operands, *(ScalarRef("attribute", k) for k in range(len(numbers))))
        return (BodyCall(op, dict(constants), arguments, dtype, words),), list(numbers), words
    known = op.trace(specs)
    calls, all_numbers, all_words = [], [], []  # type: tuple[list[BodyCall], list[float], list[str]]
    for call in op.calls:
        dtype = call.op.promoted([op.spec_of(a, specs, known) for a in call.arguments])
        constants, numbers, words, _ = kernels.split_attributes(call.op, call.attributes, dtype)
        first = len(all_numbers)
        arguments = (*call.arguments, *(ScalarRef("attribute", first + k) for k in range(len(numbers))))
        calls.append(BodyCall(call.op, dict(constants), arguments, dtype, words))
        all_numbers += numbers
        all_words += words
    return tuple(calls), all_numbers, tuple(all_words)


def vectors_for(shape: Sequence[int], sizes: Sequence[int], item: int) -> int:
    """Vectors at a time: of a short row, where its size is declared, as many as leave nothing over to be done one by one."""
    n, lanes = sizes[-1], max(toolchain.vector_bytes() // item, 1)
    if (len(sizes) == 1 and not few_of(shape, sizes, item)) or n >= 2 * VECTORS * lanes or not is_declared(shape, n):
        return VECTORS
    return next(v for v in (VECTORS, VECTORS // 2, 1) if n % (v * lanes) == 0 or v == 1)


def few_of(shape: Sequence[int], sizes: Sequence[int], item: int) -> int:
    """How many elements there are along one axis, where that is declared and makes a few whole vectors or part of one; else 0."""
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
    return UNIT if stride == 1 else SAME if stride == 0 else STRIDED


def product(sizes: Iterable[int]) -> int:
    total = 1
    for n in sizes:
        total *= int(n)
    return total


class ArgumentBlock:
    """A record while its words are put down."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self.sizes = [int(n) for n in sizes]
        self.words: list[int] = list(self.sizes)
        self.slots: list[int] = []
        self.operands: list[tuple[bool, int]] = []
        self.moves: list[Sequence[int]] = []

    def address(self, who: tuple[bool, int], word: int = 0) -> None:
        self.slots.append(len(self.words))
        self.operands.append(who)
        self.moves.append(())
        self.words.append(word)

    def operand(self, who: tuple[bool, int], moves: Sequence[int], operand: Operand) -> None:
        """``moves``: bytes from one element to the next along each axis."""
        self.address(who)
        self.moves[-1] = moves
        self.words += [int(m) for m in moves[:-1]]
        if operand.inner == STRIDED:
            self.words.append(int(moves[-1]))

    def numbers(self, values: Sequence[float], types: Sequence[str]) -> None:
        for value, dtype in zip(values, types, strict=True):
            as_float = dtype[0] == "f"
            self.words.append(int(np.float64(value).view(np.int64)) if as_float else int(value))

    def cut(self, axis: int, unit: int) -> tuple[Cut | None, ...]:
        """How the operands are divided by a kernel that cuts an axis at multiples of ``unit`` elements."""
        return tuple(cut_along(self.sizes, moves, axis, unit) for moves in self.moves)

    def template(
        self, kernel: Kernel, work: float, *, shareable: bool = True, units: float = 1, cuts: tuple[Cut | None, ...] = (),
        kind: int = 0,
    ) -> KernelSpec:
        """``work`` in estimated nanoseconds decides whether the instruction is worth sharing, and with its ``units``, which
        a piece is a whole number of, how finely.
        """
        serial = not shareable or work < SERIAL_BELOW
        pieces = max(int(min(units, work / PIECE, MOST_PIECES)), 1)
        pieces = math.ceil(units / math.ceil(units / pieces)) if pieces < units else pieces  # of as many units each as can be
        words = np.array(self.words, np.int64)
        return KernelSpec(kernel, words, tuple(self.slots), tuple(self.operands), serial, work, pieces=pieces, cuts=cuts, kind=kind)


def cut_along(sizes: Sequence[int], moves: Sequence[int], axis: int, unit: int = 1, threads: int = MOST_THREADS) -> Cut | None:
    """An operand divided along an axis at multiples of ``unit`` indices; None where its parts would lie in one another."""
    if not moves or any(m < 0 for m in moves):
        return None
    axis %= len(sizes)
    inside = sum((n - 1) * m for k, (n, m) in enumerate(zip(sizes, moves, strict=True)) if k != axis)
    move = moves[axis]
    return Cut(-(-sizes[axis] // unit), unit * move, inside + (unit - 1) * move, threads) if inside < move else None
