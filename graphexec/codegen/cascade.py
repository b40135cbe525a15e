"""cascade: combines many elements pairwise, so that the rounding error of a sum grows like log n instead of n.

A lane combines at most 2 STEPS elements one after another: a block. Finished blocks are merged two by two, their results two by
two, ..., as a binary counter carries: after block i, as many merges as i has trailing zero bits. The results that wait for a
partner of their size are on a stack, whose rows are as wide as the lanes. The number of elements alone fixes the order.

Error of a sum of n elements of one sign: at most STEPS + log2 n roundings of half an ulp each; about sqrt(log2 n) of them in
practice. Source: Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput. 14(4), 1993.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from graphexec.codegen.lanes import Lanes
from graphexec.codegen.writer import IRWriter

STEPS = 32
"""Steps after which a block ends: shorter blocks are more accurate, longer ones take less time."""

LEVELS = 24
"""Rows of a stack. Beyond 2^24 blocks, the results of that many are combined one after another."""


class Cascade:
    """The blocks of the reductions that run in one loop. Without reductions that round and are ``long``, there is one block.

    The lanes of a block are in memory of their own, `running`, which few instructions use: LLVM keeps lanes in registers only if
    it can follow all uses of their memory, of which it looks at a hundred.
    """

    def __init__(self, writer: IRWriter, lanes: Sequence[Lanes], width: int, long: bool) -> None:
        """``width`` is the number of lanes of each; a loop need not use all."""
        self.writer, self.width, self.lanes = writer, width, lanes
        self.tall = [one for one in lanes if long and one.step.rounds]
        self.results = [one.memory for one in self.tall]
        self.running = [writer.let(f"alloca [{width} x {one.type}], align 64", "running") for one in self.tall]
        self.stacks = [writer.let(f"alloca [{width * LEVELS} x {one.type}], align 64", "stack") for one in self.tall]
        if self.tall:
            self.steps, self.blocks, self.depth = (writer.let("alloca i64", hint) for hint in ("steps", "blocks", "depth"))

    def start(self) -> None:
        """Before the first element."""
        self._enter(self.running)
        for one in self.lanes:
            one.fill(str(self.width))
        for variable in (self.steps, self.blocks, self.depth) if self.tall else ():
            self._set(variable, "0")

    @contextmanager
    def stretches(self, n: str, unit: int) -> Iterator[tuple[str, str]]:
        """(first, size) of stretches of ``range(n)``, each at most STEPS of ``unit`` elements, in which a block may begin."""
        if not self.tall:
            yield "0", n
            return
        writer = self.writer
        with writer.loop("0", n, step=STEPS * unit) as first:
            with writer.when(f"icmp sge i64 {self._get(self.steps)}, {STEPS}"):
                self._end_block()
            size = writer.minimum(writer.let(f"sub i64 {n}, {first}"), STEPS * unit)
            yield first, size
            self._set(self.steps, writer.add(self._get(self.steps), writer.divide_up(size, unit)))

    def finish(self) -> None:
        """After the last element: the lanes are the result of all blocks."""
        if self.tall:
            self._leave_block()
            depth = self._get(self.depth)
            self._merge(depth, depth)

    def _end_block(self) -> None:
        """Combines the lanes with the results that the carry reaches, puts them on the stack, and starts again."""
        writer = self.writer
        self._leave_block()
        blocks, depth = writer.add(self._get(self.blocks), "1"), self._get(self.depth)
        merges = writer.minimum(writer.let(f"call i64 @llvm.cttz.i64(i64 {blocks}, i1 false)"), depth)
        full = writer.let(f"icmp eq i64 {writer.let(f'sub i64 {depth}, {merges}')}, {LEVELS}")
        merges = writer.add(merges, writer.let(f"zext i1 {full} to i64"))
        self._merge(depth, merges)
        depth = writer.let(f"sub i64 {depth}, {merges}")
        self._copy(self.results, self._rows(depth))
        self._enter(self.running)
        for one in self.tall:
            one.fill(str(self.width))
        for variable, value in ((self.steps, "0"), (self.blocks, blocks), (self.depth, writer.add(depth, "1"))):
            self._set(variable, value)

    def _leave_block(self) -> None:
        self._copy(self.running, self.results)
        self._enter(self.results)

    def _merge(self, depth: str, times: str) -> None:
        """Combines the uppermost rows of the stack into the lanes."""
        writer = self.writer
        with writer.loop("0", times) as k:
            top = writer.let(f"sub i64 {writer.let(f'sub i64 {depth}, {k}')}, 1")
            for one, row in zip(self.tall, self._rows(top), strict=True):
                with writer.loop("0", str(self.width), independent=True) as lane:
                    earlier = writer.load(one.type, writer.element(one.type, row, lane))
                    one.store(lane, one.combined(earlier, one.load(lane)))

    def _copy(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        writer = self.writer
        for one, source, target in zip(self.tall, sources, targets, strict=True):
            with writer.loop("0", str(self.width), independent=True) as lane:
                value = writer.load(one.type, writer.element(one.type, source, lane))
                writer.store(one.type, value, writer.element(one.type, target, lane))

    def _enter(self, memory: Sequence[str]) -> None:
        for one, at in zip(self.tall, memory, strict=True):
            one.memory = at

    def _rows(self, level: str) -> list[str]:
        """The address of a row of each stack."""
        first = self.writer.let(f"mul i64 {level}, {self.width}")
        return [self.writer.element(one.type, stack, first) for one, stack in zip(self.tall, self.stacks, strict=True)]

    def _get(self, variable: str) -> str:
        return self.writer.let(f"load i64, ptr {variable}")

    def _set(self, variable: str, value: str) -> None:
        self.writer.put(f"store i64 {value}, ptr {variable}")
