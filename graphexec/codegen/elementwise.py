"""elementwise: the loop nest of an elementwise kernel, with or without reductions over all its elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graphexec.abi import BLOCK, CHUNK
from graphexec.codegen.cascade import Cascade
from graphexec.codegen.lanes import BlockLanes
from graphexec.codegen.operands import SAME, Access, Body, Scalars, Step, declare, words_of
from graphexec.codegen.writer import VECTORS, IRWriter
from graphexec.ir.fused.scalar import ScalarRef

BLOCK_VECTORS = 8
"""Vectors in flight in a loop over BLOCK elements: they divide BLOCK, and more chains of operations hide their latency."""

COMPACT = 24
"""Instructions of the shortest body whose kernel with closings is compact: the function of tanh, say, but not a product.

Then the registers hold no more than VECTORS vectors in flight, and the code around the body takes no time that counts.
"""


class Closing(NamedTuple):
    """A sum, product, maximum, ... over every element of a loop nest, with one partial result for each chunk."""

    combine: Step
    value: ScalarRef
    long: bool = False
    """Whether a lane may combine so many elements of a chunk that a function that rounds needs a cascade."""


def elementwise_ir(
    name: str, body: Body, ndim: int, closings: Sequence[Closing] = (), vectors: int = VECTORS, fixed_size: int = 0,
    *, compact: bool = False,
) -> str:  # fmt: skip
    """A loop nest of ``ndim`` axes over broadcast operands, with ``vectors`` vectors in flight along the innermost axis.

    A ``fixed_size`` other than 0 is the number of elements along the only axis: it becomes a constant of the code, and one thread
    computes them all. ``compact`` code with closings takes half the time to compile: it has one loop for whole blocks and for the
    rest, fewer vectors in flight, and functions for what the closings have in common.

    The record holds the sizes; for each load and store its address, its strides along the outer axes and, if it is STRIDED,
    along the innermost axis; the attributes; the addresses of the closings' partial results. A chunk is one index of the first
    axis, or CHUNK elements if there is only one axis.
    """
    writer = IRWriter()
    outer = ndim - 1
    attributes = ndim + sum(words_of(o, outer) for o in body.operands)
    scalars = Scalars(writer, body, writer.numbers(attributes, body.words))
    lanes = [BlockLanes(writer, scalars, c.combine, str(k)) for k, c in enumerate(closings)]
    partials = [writer.pointer(attributes + len(body.words) + k) for k in range(len(closings))]
    sizes = [writer.word(d, "n") for d in range(ndim)]
    nest = ElementwiseNest(writer, body, scalars, Access(writer, body.operands, ndim, outer), closings, lanes, compact=compact)
    if fixed_size:
        nest.plain([("0", str(fixed_size))])
    elif not closings:
        nest.plain([writer.share(sizes[0], BLOCK if ndim == 1 else 1), *(("0", n) for n in sizes[1:])])
    else:
        nest.chunks(sizes, partials)
    scalars.leave()
    declarations = declare([*body.steps, *(c.combine for c in closings)])
    return writer.kernel_module(name, declarations, BLOCK_VECTORS if closings and not compact else vectors, unroll=not fixed_size)


class ElementwiseNest:
    """The loops of an elementwise kernel. ``rows`` are the operands' addresses for given outer indices; ``fixed`` are the
    elements of operands that do not move along the innermost axis.
    """

    def __init__(
        self, writer: IRWriter, body: Body, scalars: Scalars, access: Access, closings: Sequence[Closing],
        lanes: Sequence[BlockLanes], *, compact: bool = False,
    ) -> None:  # fmt: skip
        self.writer, self.body, self.scalars, self.access = writer, body, scalars, access
        self.closings, self.lanes, self.compact = closings, lanes, compact
        self.cascade = Cascade(writer, lanes, BLOCK, any(c.long for c in closings), compact=compact)

    def plain(self, bounds: Sequence[tuple[str, str]]) -> None:
        """The nest without closings."""
        with self.writer.loops(bounds[:-1]) as indices:
            rows, fixed = self.rows(indices)
            self.inner(rows, fixed, *bounds[-1])

    def chunks(self, sizes: Sequence[str], partials: Sequence[str]) -> None:
        """The nest with closings: each chunk fills the lanes, combines its elements into them, and stores their total."""
        writer, flat = self.writer, len(sizes) == 1
        count = writer.divide_up(sizes[0], CHUNK) if flat else sizes[0]
        with writer.loop(*writer.share(count)) as chunk:
            self.cascade.start()
            if flat:
                start = writer.let(f"mul i64 {chunk}, {CHUNK}")
                span = writer.minimum(writer.let(f"sub i64 {sizes[0]}, {start}"), CHUNK)
                with self.cascade.stretches(span, BLOCK) as (first, size):
                    self.blocks(*self.rows([]), writer.add(start, first), size)
            else:
                with (
                    writer.loops([("0", n) for n in sizes[1:-1]]) as inner,
                    self.cascade.stretches(sizes[-1], BLOCK) as (first, size),
                ):
                    self.blocks(*self.rows([chunk, *inner]), first, size)
            self.cascade.finish()
            for lanes, partial in zip(self.lanes, partials, strict=True):
                total = lanes.total(compact=self.compact)
                writer.put(f"store {lanes.type} {total}, ptr {writer.element(lanes.type, partial, chunk)}")

    def blocks(self, rows: Sequence[str], fixed: Mapping[int, str], start: str, span: str) -> None:
        """The elements from ``start`` on, BLOCK at a time, so that element i goes to lane i % BLOCK."""
        writer = self.writer
        if self.compact:
            with writer.loop("0", span, step=BLOCK) as block:
                size = writer.minimum(writer.let(f"sub i64 {span}, {block}"), BLOCK)
                self.inner(rows, fixed, "0", size, writer.add(start, block))
            return
        whole = writer.round_down(span, BLOCK)
        with writer.loop("0", whole, step=BLOCK) as block:
            self.inner(rows, fixed, "0", str(BLOCK), writer.add(start, block))
        rest = writer.let(f"sub i64 {span}, {whole}")
        self.inner(rows, fixed, "0", rest, writer.add(start, whole))

    def inner(self, rows: Sequence[str], fixed: Mapping[int, str], low: str, high: str, first: str | None = None) -> None:
        """The innermost loop. With ``first`` it runs over lanes, and lane 0 takes element ``first``."""
        with self.writer.loop(low, high, independent=True) as index:
            if first is None:
                self.element(rows, fixed, index, None)
            else:
                self.element(rows, fixed, self.writer.add(first, index), index)

    def rows(self, indices: Sequence[str]) -> tuple[list[str], dict[int, str]]:
        """``rows`` and ``fixed`` for given outer indices."""
        rows = [self.access.row(k, indices) for k in range(len(self.access.operands))]
        return rows, {k: self.access.load(k, rows[k], group=False) for k, o in enumerate(self.body.loads) if o.inner == SAME}

    def element(self, rows: Sequence[str], fixed: Mapping[int, str], index: str, lane: str | None) -> None:
        """Loads, computes and stores one element, and combines it into a lane of each closing."""
        access = self.access
        loaded = [
            fixed[k] if k in fixed else access.load(k, access.element(k, rows[k], index)) for k in range(len(self.body.loads))
        ]
        results = self.scalars.run(loaded)
        for k, (operand, ref) in enumerate(self.body.stores, len(self.body.loads)):
            access.store(k, access.element(k, rows[k], index), self.scalars.value(ref, loaded, results, operand.dtype))
        for closing, lanes in zip(self.closings, self.lanes, strict=True):
            assert lane is not None
            lanes.combine(lane, self.scalars.value(closing.value, loaded, results, closing.combine.accumulator))
