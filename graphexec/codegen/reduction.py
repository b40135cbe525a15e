"""reduction: the loop nest of a kernel that reduces along axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from graphexec.abi import BLOCK
from graphexec.codegen.cascade import Cascade
from graphexec.codegen.lanes import BlockLanes
from graphexec.codegen.operands import Access, Body, Operand, Scalars, Step, declare, words_of
from graphexec.codegen.writer import IRWriter


class Reduction(NamedTuple):
    """The axes of a reduction and the function that combines elements."""

    combine: Step
    kept: int
    """Number of outermost loops, over axes of the output."""
    reduced: int
    """Number of loops over reduced axes."""
    within_row: bool
    """Whether the innermost axis is reduced; otherwise it is an axis of the output, inside the ``reduced`` loops."""
    fixed_row_size: int = 0
    """The size of the innermost axis, if that is the only reduced axis and its elements are whole vectors; else 0."""
    long: bool = False
    """Whether a lane may combine so many elements that a function that rounds needs a cascade."""


def reduction_ir(name: str, body: Body, reduction: Reduction, out: Operand) -> str:
    """Loops over kept axes around loops over reduced axes, combining into BLOCK lanes side by side.

    Element i of a reduced innermost axis goes to lane i % BLOCK, and the lanes are combined pairwise at the end. If the innermost
    axis is kept, the lanes are elements of the output. Many elements of one lane are a `cascade`. The order of every sum is
    therefore fixed by the shape.

    The record holds the sizes of the kept axes, of the reduced axes, and of a kept innermost axis; the operands as in
    :func:`elementwise_ir`, the output last; the attributes.
    """
    writer = IRWriter()
    ndim = reduction.kept + reduction.reduced + (not reduction.within_row)
    operands = [*body.loads, out]
    outer = ndim - 1
    scalars = Scalars(writer, body, writer.numbers(ndim + sum(words_of(o, outer) for o in operands), body.words))
    lanes = BlockLanes(writer, scalars, reduction.combine)
    sizes = [writer.word(d, "n") for d in range(ndim)]
    nest = _ReductionNest(writer, body, reduction, Access(writer, operands, ndim, outer), scalars, lanes)
    if reduction.within_row:
        nest.vectorize_within_row(sizes)
    else:
        nest.vectorize_across_rows(sizes)
    scalars.leave()
    declarations = declare([*body.steps, reduction.combine])
    if reduction.fixed_row_size:
        return writer.kernel_module(name, declarations, 1, unroll=False)
    return writer.kernel_module(name, declarations)


class _ReductionNest:
    def __init__(
        self, writer: IRWriter, body: Body, reduction: Reduction, access: Access, scalars: Scalars, lanes: BlockLanes
    ) -> None:
        self.writer, self.body, self.reduction = writer, body, reduction
        self.access, self.scalars, self.lanes = access, scalars, lanes
        self.out, self.cascade = len(body.loads), Cascade(writer, [lanes], reduction.fixed_row_size or BLOCK, reduction.long)

    def vectorize_within_row(self, sizes: Sequence[str]) -> None:
        """The innermost axis is reduced: the lanes are elements of one row."""
        writer, kept, fixed_size = self.writer, self.reduction.kept, self.reduction.fixed_row_size
        bounds = [writer.share(sizes[0]), *(("0", n) for n in sizes[1:kept])] if kept else []
        with writer.loops(bounds) as outer:
            self.cascade.start()
            with writer.loops([("0", n) for n in sizes[kept:-1]]) as inner:
                rows = self.rows([*outer, *inner])
                if fixed_size:
                    self.block(rows, "0", str(fixed_size))
                else:
                    with self.cascade.stretches(sizes[-1], BLOCK) as (first, size):
                        self.blocks(rows, first, size)
            self.cascade.finish()
            self.finish(self.access.row(self.out, outer), "0", self.lanes.total(fixed_size or BLOCK))

    def vectorize_across_rows(self, sizes: Sequence[str]) -> None:
        """The innermost axis is kept: a block of lanes moves down the reduced axes, one lane for each element of the output."""
        writer, kept = self.writer, self.reduction.kept
        n = sizes[-1]
        low, high = writer.share(sizes[0] if kept else n, 1 if kept else BLOCK)
        bounds = [(low, high), *(("0", size) for size in sizes[1:kept])] if kept else []
        if kept:
            low, high = "0", n
        with writer.loops(bounds) as outer:
            whole = writer.add(low, writer.round_down(writer.let(f"sub i64 {high}, {low}"), BLOCK))
            for first, last, count in ((low, whole, str(BLOCK)), (whole, high, writer.let(f"sub i64 {high}, {whole}"))):
                with writer.loop(first, last, step=BLOCK) as block:
                    self.cascade.start()
                    with self.reduced_loops(sizes) as inner:
                        self.block(self.rows([*outer, *inner]), block, count)
                    self.cascade.finish()
                    row = self.access.row(self.out, outer)
                    with writer.loop("0", count, independent=True) as lane:
                        self.finish(row, writer.add(block, lane), self.lanes.load(lane))

    @contextmanager
    def reduced_loops(self, sizes: Sequence[str]) -> Iterator[list[str]]:
        """Loops over the reduced axes outside a kept innermost axis."""
        writer, (*outer, last) = self.writer, sizes[self.reduction.kept : -1] or ["1"]
        with (
            writer.loops([("0", n) for n in outer]) as indices,
            self.cascade.stretches(last, 1) as (first, size),
            writer.loop("0", size) as k,
        ):
            yield [*indices, k if first == "0" else writer.add(first, k)]

    def rows(self, indices: Sequence[str]) -> list[str]:
        return [self.access.row(k, indices) for k in range(self.out)]

    def blocks(self, rows: Sequence[str], first: str, size: str) -> None:
        """Combines ``size`` elements of a row into the lanes, BLOCK at a time."""
        writer = self.writer
        whole = writer.round_down(size, BLOCK)
        with writer.loop("0", whole, step=BLOCK) as block:
            self.block(rows, writer.add(first, block), str(BLOCK))
        self.block(rows, writer.add(first, whole), writer.let(f"sub i64 {size}, {whole}"))

    def block(self, rows: Sequence[str], first: str, count: str) -> None:
        """Combines ``count`` elements from ``first`` on into the first lanes."""
        with self.writer.loop("0", count, independent=True) as lane:
            index = self.writer.add(first, lane)
            self.lanes.combine(lane, self.element(rows, index))

    def element(self, rows: Sequence[str], index: str) -> str:
        """The body's value at an index of the innermost axis, in the accumulator's type."""
        loaded = [self.access.load(k, self.access.element(k, row, index)) for k, row in enumerate(rows)]
        results = self.scalars.run(loaded)
        return self.scalars.value(self.body.stores[0][1], loaded, results, self.reduction.combine.accumulator)

    def finish(self, row: str, index: str, value: str) -> None:
        """Stores an element of the output."""
        value = self.writer.convert(value, self.reduction.combine.accumulator, self.access.operands[self.out].dtype)
        self.access.store(self.out, self.access.element(self.out, row, index), value)
