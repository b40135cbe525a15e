"""within_row: a kernel over rows that computes one row at a time, with the elements of the row in the vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphexec.codegen.lanes import Lanes
from graphexec.codegen.operands import SAME
from graphexec.codegen.row_loops import Place, RowLoops
from graphexec.codegen.writer import LLVM_TYPES
from graphexec.ir.fused.row_schedule import Sweep
from graphexec.ir.fused.scalar import ScalarRef

LANES = 32
"""Accumulators of a reduction along a row: fewer than the BLOCK of a plain reduction, because every row ends by combining them."""


class _RowLanes(Lanes):
    """LANES accumulators of step ``k``."""

    def __init__(self, loops: RowLoops, k: int) -> None:
        writer, step = loops.writer, loops.body.steps[k]
        memory = writer.let(f"alloca [{LANES} x {LLVM_TYPES[step.accumulator]}], align 64", "lanes")
        super().__init__(writer, loops.scalars, step, memory, loops.scalars.slots[k])

    def total(self) -> str:
        """Combines all lanes pairwise: lane i with lane i + 16, then i + 8, ...; the last eight in registers."""
        quarter = LANES // 4
        with self.writer.loop("0", str(quarter), independent=True) as lane:
            lanes = [self.writer.add(lane, str(k * quarter)) for k in range(4)]
            halves = [self.combined(self.load(lanes[k]), self.load(lanes[k + 2])) for k in range(2)]
            self.store(lane, self.combined(*halves))
        left = [self.load(str(k)) for k in range(quarter)]
        while len(left) > 1:
            half = len(left) // 2
            left = [self.combined(a, b) for a, b in zip(left[:half], left[half:], strict=True)]
        return left[0]


class WithinRow(RowLoops):
    """One row after another; the innermost loop runs along the row."""

    lanes: Mapping[int, _RowLanes]

    def emit(self, sizes: Sequence[str]) -> None:
        writer, loads = self.writer, self.body.loads
        self.lanes = {k: _RowLanes(self, k) for k, step in enumerate(self.body.steps) if step.accumulator}
        self.cascades = self.cascades_of(LANES)
        with writer.loop(*writer.share(sizes[0])) as first, writer.loops([("0", n) for n in sizes[1:-1]]) as inner:
            self.rows = [self.access.row(k, [first, *inner]) for k in range(len(self.access.operands))]
            self.fixed = self.fixed_loads(self.rows, [k for k, operand in enumerate(loads) if operand.inner == SAME])
            for sweep in self.plan.sweeps:
                self.sweep(sweep, sizes[-1])
            self.once(self.plan.once)
            for k, (operand, ref, once) in enumerate(self.body.stores, len(loads)):
                if once:
                    self.access.store(k, self.rows[k], writer.convert(self.read(ref), self.type_of(ref), operand.dtype))

    def sweep(self, sweep: Sweep, n: str) -> None:
        self.once(sweep.once)
        if sweep.closes:
            cascade = self.cascades[sweep]
            cascade.start()
            with cascade.stretches(n, LANES) as (first, size):
                self.blocks(sweep, first, size)
            cascade.finish()
        else:
            self.inner(sweep, "0", n, None)
        for k in sweep.closes:
            self.fixed[ScalarRef("call", k)] = self.lanes[k].total()

    def read(self, ref: ScalarRef) -> str:
        return self.scalars.words[ref.index] if ref.kind == "attribute" else self.fixed[ref]

    def once(self, steps: Sequence[int]) -> None:
        """Calls steps whose results are the same for the whole row."""
        for k in steps:
            self.fixed.update({ScalarRef("call", k, o): result for o, result in enumerate(self.call(k, self.read))})

    def combine(self, k: int, lane: str, value: str) -> None:
        self.lanes[k].combine(lane, value)

    def inner(self, sweep: Sweep, low: str, high: str, first: str | None) -> None:
        """The innermost loop. With ``first`` it runs over lanes, and lane 0 takes element ``first``."""
        with self.writer.loop(low, high, independent=True) as lane:
            index = lane if first is None else self.writer.add(first, lane)
            loaded: dict[ScalarRef, str] = {}

            def read(ref: ScalarRef) -> str:
                if ref.kind != "operand" or ref in self.fixed:
                    return self.read(ref)
                if ref not in loaded:
                    at = self.access.element(ref.index, self.rows[ref.index], index)
                    loaded[ref] = self.access.load(ref.index, at)
                return loaded[ref]

            self.element(sweep, Place(self.rows, index, index, lane), read)

    def blocks(self, sweep: Sweep, first: str, size: str) -> None:
        """A sweep that reduces, on ``size`` elements: LANES of them at a time."""
        writer, done = self.writer, first
        end = size if first == "0" else writer.add(first, size)
        if self.form.whole:
            if self.form.rest:
                whole = writer.round_down(size, LANES)
                done = whole if first == "0" else writer.add(first, whole)
            else:
                done = end
            with writer.loop(first, done, step=LANES) as block:
                self.inner(sweep, "0", str(LANES), block)
        if self.form.rest:
            with writer.loop(done, end, step=LANES) as block:  # at most one iteration if whole blocks have a loop of their own
                span = writer.minimum(writer.let(f"sub i64 {end}, {block}"), LANES)
                self.inner(sweep, "0", span, block)
