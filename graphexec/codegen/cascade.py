"""cascade: combines many elements pairwise, so that the rounding error of a sum grows like log n instead of n.

A lane combines at most 2 STEPS elements one after another: a block. Finished blocks are merged two by two, their results two by
two, ..., as a binary counter carries: after block i, as many merges as i has trailing zero bits. The results that wait for a
partner of their size are on a stack, whose rows are as wide as the lanes. The number of elements alone fixes the order.

Error of a sum of n elements of one sign: at most STEPS + log2 n roundings of half an ulp each; about sqrt(log2 n) of them in
practice. Source: Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput. 14(4), 1993.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from graphexec.codegen.lanes import Lanes
from graphexec.codegen.writer import IRWriter

STEPS = 32
"""Steps after which a block ends: shorter blocks are more accurate, longer ones take less time."""

LEVELS = 24
"""Rows of a stack. Beyond 2^24 blocks, the results of that many are combined one after another."""


class _Blocks:
    """What becomes of finished blocks: the lanes, where a block is `running`, and the stack, of each reduction."""

    def __init__(
        self, writer: IRWriter, lanes: Sequence[Lanes], width: int, running: Sequence[str], stacks: Sequence[str]
    ) -> None:
        self.writer, self.lanes, self.width, self.running, self.stacks = writer, lanes, width, running, stacks
        self.results = [one.memory for one in lanes]

    def leave(self) -> None:
        """Ends the running block, which is in the lanes when `merge` begins."""
        self._copy(self.running, self.results)
        self.enter(self.results)

    def merge(self, depth: str, times: str) -> None:
        """Combines the uppermost rows of the stack into the lanes."""
        writer = self.writer
        with writer.loop("0", times) as k:
            top = writer.let(f"sub i64 {writer.let(f'sub i64 {depth}, {k}')}, 1")
            for one, row in zip(self.lanes, self._rows(top), strict=True):
                with writer.loop("0", str(self.width), independent=True) as lane:
                    earlier = writer.load(one.type, writer.element(one.type, row, lane))
                    one.store(lane, one.combined(earlier, one.load(lane)))

    def push(self, depth: str) -> None:
        """Puts the lanes on the stack, and starts another block."""
        self._copy(self.results, self._rows(depth))
        self.enter(self.running)
        for one in self.lanes:
            one.fill(str(self.width))

    def enter(self, memory: Sequence[str]) -> None:
        for one, at in zip(self.lanes, memory, strict=True):
            one.memory = at

    def _copy(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        writer = self.writer
        for one, source, target in zip(self.lanes, sources, targets, strict=True):
            with writer.loop("0", str(self.width), independent=True) as lane:
                value = writer.load(one.type, writer.element(one.type, source, lane))
                writer.store(one.type, value, writer.element(one.type, target, lane))

    def _rows(self, level: str) -> list[str]:
        """The address of a row of each stack."""
        first = self.writer.let(f"mul i64 {level}, {self.width}")
        return [self.writer.element(one.type, stack, first) for one, stack in zip(self.lanes, self.stacks, strict=True)]


class _SharedBlocks(_Blocks):
    """The same by functions of the kernel's module, one for all reductions that combine alike."""

    def leave(self) -> None:
        self.enter(self.results)

    def merge(self, depth: str, times: str) -> None:
        def write(blocks: _Blocks) -> None:
            blocks.leave()
            blocks.merge("%depth", "%times")

        self._each("merge", {"i64 %depth": depth, "i64 %times": times}, write)

    def push(self, depth: str) -> None:
        self._each("push", {"i64 %depth": depth}, lambda blocks: blocks.push("%depth"))
        self.enter(self.running)

    def _each(self, what: str, numbers: Mapping[str, str], write: Callable[[_Blocks], None]) -> None:
        def body(lanes: Lanes) -> None:
            write(_Blocks(lanes.writer, [lanes], self.width, ["%running"], ["%stack"]))

        for one, running, stack in zip(self.lanes, self.running, self.stacks, strict=True):
            one.out_of_line(f"{what}{self.width}", {"ptr %running": running, "ptr %stack": stack, **numbers}, body)


class Cascade:
    """The blocks of the reductions that run in one loop. Without reductions that round and are ``long``, there is one block.

    The lanes of a block are in memory of their own, `running`, which few instructions use: LLVM keeps lanes in registers only if
    it can follow all uses of their memory, of which it looks at a hundred.
    """

    def __init__(self, writer: IRWriter, lanes: Sequence[Lanes], width: int, long: bool, *, compact: bool = False) -> None:
        """``width`` is the number of lanes of each; a loop need not use all. ``compact`` code stands once for all reductions."""
        self.writer, self.width, self.lanes = writer, width, lanes
        tall = [one for one in lanes if long and one.step.rounds]
        running = [writer.let(f"alloca [{width} x {one.type}], align 64", "running") for one in tall]
        stacks = [writer.let(f"alloca [{width * LEVELS} x {one.type}], align 64", "stack") for one in tall]
        self.tall = (_SharedBlocks if compact else _Blocks)(writer, tall, width, running, stacks) if tall else None
        if tall:
            self.steps, self.blocks, self.depth = (writer.let("alloca i64", hint) for hint in ("steps", "blocks", "depth"))

    def start(self) -> None:
        """Before the first element."""
        if self.tall:
            self.tall.enter(self.tall.running)
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
                self._end_block(self.tall)
            size = writer.minimum(writer.let(f"sub i64 {n}, {first}"), STEPS * unit)
            yield first, size
            self._set(self.steps, writer.add(self._get(self.steps), writer.divide_up(size, unit)))

    def finish(self) -> None:
        """After the last element: the lanes are the result of all blocks."""
        if self.tall:
            self.tall.leave()
            depth = self._get(self.depth)
            self.tall.merge(depth, depth)

    def _end_block(self, tall: _Blocks) -> None:
        """Combines the lanes with the results that the carry reaches, puts them on the stack, and starts again."""
        writer = self.writer
        tall.leave()
        blocks, depth = writer.add(self._get(self.blocks), "1"), self._get(self.depth)
        merges = writer.minimum(writer.let(f"call i64 @llvm.cttz.i64(i64 {blocks}, i1 false)"), depth)
        full = writer.let(f"icmp eq i64 {writer.let(f'sub i64 {depth}, {merges}')}, {LEVELS}")
        merges = writer.add(merges, writer.let(f"zext i1 {full} to i64"))
        tall.merge(depth, merges)
        depth = writer.let(f"sub i64 {depth}, {merges}")
        tall.push(depth)
        for variable, value in ((self.steps, "0"), (self.blocks, blocks), (self.depth, writer.add(depth, "1"))):
            self._set(variable, value)

    def _get(self, variable: str) -> str:
        return self.writer.let(f"load i64, ptr {variable}")

    def _set(self, variable: str, value: str) -> None:
        self.writer.put(f"store i64 {value}, ptr {variable}")
