"""lanes: the accumulators of a reduction. A vector loop combines element i into lane i, and the lanes are combined at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graphexec.abi import BLOCK
from graphexec.codegen.operands import Body, Scalars, Step, struct_of
from graphexec.codegen.writer import LLVM_TYPES, IRWriter


class Lanes:
    """Accumulators side by side in memory."""

    def __init__(self, writer: IRWriter, scalars: Scalars, step: Step, memory: str, slot: str) -> None:
        """``memory`` is the address of the first lane, ``slot`` where the combining function ``step`` puts its result."""
        self.writer, self.scalars, self.step, self.memory, self.slot = writer, scalars, step, memory, slot
        self.type = LLVM_TYPES[step.accumulator]

    def at(self, lane: str) -> str:
        return self.writer.element(self.type, self.memory, lane)

    def load(self, lane: str) -> str:
        return self.writer.load(self.type, self.at(lane))

    def store(self, lane: str, value: str) -> None:
        self.writer.store(self.type, value, self.at(lane))

    def fill(self, count: str) -> None:
        """Stores the neutral element in the first lanes."""
        with self.writer.loop("0", count, independent=True) as lane:
            self.store(lane, self.step.identity)

    def combine(self, lane: str, value: str) -> None:
        """Combines a value into a lane."""
        at = self.at(lane)
        self.writer.store(self.type, self.combined(self.writer.load(self.type, at), value), at)

    def combined(self, accumulated: str, value: str) -> str:
        new = self.scalars.call(self.step, self.slot, [accumulated, value])[0]
        return self.writer.convert(new, self.step.results[0], self.step.accumulator)

    def pairwise(self, count: int) -> None:
        """Combines the first lanes into lane 0: lane i with lane i + count / 2, then i + count / 4, ..."""
        width = count // 2
        while width:
            with self.writer.loop("0", str(width), independent=count < BLOCK and width > 2) as lane:
                self.combine(lane, self.load(self.writer.add(lane, str(width))))
            width //= 2

    def out_of_line(self, what: str, arguments: Mapping[str, str], write: Callable[[Lanes], None]) -> None:
        """Calls a function of the kernel's module that does to %lanes what ``write`` emits: one for all that combine alike.

        ``arguments`` are values by typed parameter.
        """

        def body() -> IRWriter:
            writer = IRWriter()
            scalars = Scalars(writer, Body((), (), (), ()), ())
            slot = writer.let(f"alloca {struct_of(self.step.results)}", "slot")
            write(Lanes(writer, scalars, self.step, "%lanes", slot))
            scalars.leave()
            return writer

        status = self.writer.call_out_of_line(f"{what}_{self.step.symbol}", {"ptr %lanes": self.memory, **arguments}, body)
        self.scalars.note(self.writer.let(f"trunc i64 {status} to i32"))


class BlockLanes(Lanes):
    """BLOCK accumulators."""

    def __init__(self, writer: IRWriter, scalars: Scalars, step: Step, tag: str = "") -> None:
        super().__init__(writer, scalars, step, f"%lanes{tag}", f"%combined{tag}")
        writer.put(f"{self.memory} = alloca [{BLOCK} x {self.type}], align 64")
        writer.put(f"{self.slot} = alloca {struct_of(step.results)}")

    def total(self, count: int = BLOCK, *, compact: bool = False) -> str:
        """Combines the first lanes pairwise. If ``compact``, the code is that of all totals of the kernel that combine alike."""
        if compact:
            self.out_of_line(f"total{count}", {}, lambda lanes: lanes.pairwise(count))
        else:
            self.pairwise(count)
        return self.load("0")
