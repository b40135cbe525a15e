"""across_rows: a kernel over rows that computes BLOCK rows at a time, with elements of neighbouring rows in the vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphexec.abi import BLOCK
from graphexec.codegen.lanes import Lanes
from graphexec.codegen.operands import SAME
from graphexec.codegen.row_loops import Place, Read, RowLoops
from graphexec.codegen.writer import LLVM_TYPES
from graphexec.ir.fused.row_schedule import Sweep
from graphexec.ir.fused.scalar import ScalarRef


class AcrossRows(RowLoops):
    """BLOCK rows side by side. Values that are the same for a whole row are kept in arrays, one element for each row."""

    def emit(self, sizes: Sequence[str]) -> None:
        writer, (*outer, n, count) = self.writer, sizes
        self._allocate()
        low, high = writer.share(sizes[0] if outer else count, 1 if outer else BLOCK)
        bounds = [(low, high), *(("0", size) for size in outer[1:])] if outer else []
        if outer:
            low, high = "0", count
        with writer.loops(bounds) as self.outer, writer.loop(low, high, step=BLOCK) as self.block:
            self.width = writer.minimum(writer.let(f"sub i64 {high}, {self.block}"), BLOCK)
            for sweep in self.plan.sweeps:
                self.once(sweep.once)
                self.sweep(sweep, n)
            self.once(self.plan.once)
            self.finish()

    def _allocate(self) -> None:
        steps = list(enumerate(self.body.steps))
        self.arrays = {
            ScalarRef("call", k, o): self.writer.let(f"alloca [{BLOCK} x {LLVM_TYPES[s.type_of(o)]}], align 64", "rows")
            for k, s in steps if self.plan.fixed[k] for o in range(len(s.results))
        }  # fmt: skip
        self.lanes = {
            k: Lanes(self.writer, self.scalars, s, self.arrays[ScalarRef("call", k)], self.scalars.slots[k])
            for k, s in steps if s.accumulator
        }  # fmt: skip
        self.cascades = self.cascades_of(BLOCK)

    def at(self, ref: ScalarRef, lane: str) -> str:
        return self.writer.element(LLVM_TYPES[self.type_of(ref)], self.arrays[ref], lane)

    def combine(self, k: int, lane: str, value: str) -> None:
        self.lanes[k].combine(lane, value)

    def rows(self, position: str) -> list[str]:
        """Addresses of the first row's elements at a position along the rows."""
        return [self.access.row(k, [*self.outer, position]) for k in range(len(self.access.operands))]

    def reader(self, rows: Sequence[str], fixed: Mapping[ScalarRef, str], lane: str) -> tuple[str, Read]:
        """The index of a lane's row, and a function that reads values there."""
        index = self.writer.add(self.block, lane)
        loaded = dict(fixed)

        def read(ref: ScalarRef) -> str:
            if ref.kind == "attribute":
                return self.scalars.words[ref.index]
            if ref not in loaded:
                if ref.kind == "operand":
                    loaded[ref] = self.access.load(ref.index, self.access.element(ref.index, rows[ref.index], index))
                else:
                    loaded[ref] = self.writer.load(LLVM_TYPES[self.type_of(ref)], self.at(ref, lane))
            return loaded[ref]

        return index, read

    def once(self, steps: Sequence[int]) -> None:
        """Calls steps whose results are the same for a whole row, for each row of the block."""
        if not steps:
            return
        rows = self.rows("0")
        with self.writer.loop("0", self.width, independent=True) as lane:
            _, read = self.reader(rows, {}, lane)
            known: dict[ScalarRef, str] = {}
            for k in steps:
                for o, result in enumerate(self.call(k, lambda ref: known[ref] if ref in known else read(ref))):
                    ref = ScalarRef("call", k, o)
                    known[ref] = result
                    self.writer.store(LLVM_TYPES[self.type_of(ref)], result, self.at(ref, lane))

    def sweep(self, sweep: Sweep, n: str) -> None:
        """Moves down the positions of the rows, all rows of the block at each."""
        writer, cascade = self.writer, self.cascades[sweep]
        cascade.start()
        with cascade.stretches(n, 1) as (begin, size), writer.loop("0", size) as step:
            position = step if begin == "0" else writer.add(begin, step)
            rows = self.rows(position)
            fixed = self.fixed_loads(rows, [k for k, operand in enumerate(self.body.loads) if operand.inner == SAME])
            first = writer.let(f"mul i64 {position}, {BLOCK}")
            with writer.loop("0", self.width, independent=True) as lane:
                index, read = self.reader(rows, fixed, lane)
                self.element(sweep, Place(rows, index, writer.add(first, lane), lane), read)
        cascade.finish()

    def finish(self) -> None:
        """Stores the outputs with one value per row."""
        stores = [(k, o, ref) for k, (o, ref, once) in enumerate(self.body.stores, len(self.body.loads)) if once]
        if not stores:
            return
        rows = self.rows("0")
        with self.writer.loop("0", self.width, independent=True) as lane:
            index, read = self.reader(rows, {}, lane)
            for k, operand, ref in stores:
                value = self.writer.convert(read(ref), self.type_of(ref), operand.dtype)
                self.access.store(k, self.access.element(k, rows[k], index), value)
