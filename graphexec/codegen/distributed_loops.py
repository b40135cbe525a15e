"""distributed_loops: the kernel of a long elementwise loop, written as several loops over a strip of elements.

The loop is distributed in two steps. The work on one element is first written as a function of its own, so that LLVM inlines the
ops and merges common subexpressions (:func:`element_ir`). Its instructions are then divided into partitions (`loop_distribution`),
and each partition becomes a loop of the kernel (:func:`distributed_ir`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from graphexec.abi import BLOCK
from graphexec.codegen.elementwise import Closing, ElementwiseNest
from graphexec.codegen.lanes import BlockLanes
from graphexec.codegen.loop_distribution import MIN_INSTRUCTIONS, LLVMInstruction, Partition, StraightLineBody, plan_partitions
from graphexec.codegen.operands import SAME, Access, Body, Scalars, declare, words_of
from graphexec.codegen.writer import LLVM_TYPES, IRWriter

STRIP = 128
"""Elements that a partition computes before the next one begins, a multiple of BLOCK.

Two dozen temporaries and as many operands take half of a first-level cache of 32 KiB. With four times as many elements, one thread
took 20 to 40 % longer on arrays in the third-level cache.
"""

VECTORS = 4
"""Vectors in flight in a partition."""


def element_ir(name: str, body: Body, closings: Sequence[Closing]) -> str:
    """``i32 name(loads, attributes, pointers for stores and closings)``: the work on one element."""
    writer = IRWriter()
    scalars = Scalars(writer, body, [f"%word{k}" for k in range(len(body.words))])
    loaded = [f"%in{k}" for k in range(len(body.loads))]
    results = scalars.run(loaded)
    ends = [(f"%out{k}", ref, o.dtype) for k, (o, ref) in enumerate(body.stores)]
    ends += [(f"%close{k}", c.value, c.combine.accumulator) for k, c in enumerate(closings)]
    for pointer, ref, dtype in ends:
        writer.put(f"store {LLVM_TYPES[dtype]} {scalars.value(ref, loaded, results, dtype)}, ptr {pointer}")
    writer.put(f"ret i32 {writer.let('load i32, ptr %status')}")
    parameters = [f"{LLVM_TYPES[o.dtype]} {v}" for o, v in zip(body.loads, loaded, strict=True)]
    parameters += [f"{'double' if t[0] == 'f' else 'i64'} {w}" for t, w in zip(body.words, scalars.words, strict=True)]
    parameters += [f"ptr noalias {pointer}" for pointer, _, _ in ends]
    return (
        "\n".join(dict.fromkeys(declare(body.steps)))
        + f"\ndefine i32 @{name}({', '.join(parameters)}) nounwind {{\nentry:\n"
        + "\n".join(writer.lines)
        + "\n}\n"
    )


class DistributedBody(NamedTuple):
    """A body divided into partitions."""

    invariant: Sequence[LLVMInstruction]
    """Instructions whose result is the same for every element."""
    varying: Sequence[LLVMInstruction]
    partitions: Sequence[Partition]
    """Stretches of the varying instructions."""
    stored: Sequence[str]
    """For each store, the name or the constant that it gets."""
    closed: Sequence[str]
    """For each closing, the name of the value that it combines."""
    declarations: Sequence[str]


def distribute(straight: StraightLineBody, body: Body, closings: Sequence[Closing]) -> DistributedBody | None:
    """Divides a body into partitions; None if one loop is as fast."""
    ends = {f"out{k}": o.dtype for k, (o, _) in enumerate(body.stores)}
    ends |= {f"close{k}": c.combine.accumulator for k, c in enumerate(closings)}
    if ends.keys() != straight.stores.keys():
        return None
    instructions, results = list(straight.instructions), []
    for pointer, dtype in ends.items():
        (kind, result), wanted = straight.stores[pointer], LLVM_TYPES[dtype]
        if kind != wanted:
            instructions.append(LLVMInstruction(f"%as.{pointer}", wanted, (result,), f"bitcast {kind} {result} to {wanted}"))
            result = instructions[-1].name
        results.append(result)
    operands = {f"%in{k}" for k, o in enumerate(body.loads) if o.inner != SAME}
    invariant, varying = _separate_invariant(instructions, operands)
    reads = {i.name: i.reads for i in varying}
    stored, closed = results[: len(body.stores)], results[len(body.stores) :]
    if len(varying) < MIN_INSTRUCTIONS or not reads.keys() >= set(closed):
        return None
    partitions = plan_partitions(reads, operands, stored, closed)
    if len(partitions) == 1:
        return None
    return DistributedBody(invariant, varying, partitions, stored, closed, straight.declarations)


def _separate_invariant(
    instructions: Sequence[LLVMInstruction], operands: Collection[str]
) -> tuple[list[LLVMInstruction], list[LLVMInstruction]]:
    """(invariant, varying): instructions that depend on none of the ``operands``, and the others."""
    invariant: list[LLVMInstruction] = []
    varying: list[LLVMInstruction] = []
    moving = set(operands)
    for instruction in instructions:
        if moving.isdisjoint(instruction.reads):
            invariant.append(instruction)
        else:
            varying.append(instruction)
            moving.add(instruction.name)
    return invariant, varying


def distributed_ir(name: str, body: Body, closings: Sequence[Closing], distributed: DistributedBody) -> str:
    """Like `elementwise_ir` for one axis, with the same record."""
    writer = IRWriter()
    attributes = 1 + sum(words_of(o, 0) for o in body.operands)
    words = writer.numbers(attributes, body.words)
    scalars = Scalars(writer, body._replace(steps=()), words)
    lanes = [BlockLanes(writer, scalars, c.combine, str(k)) for k, c in enumerate(closings)]
    partials = [writer.pointer(attributes + len(body.words) + k) for k in range(len(closings))]
    size = writer.word(0, "n")
    nest = _DistributedNest(writer, body, scalars, Access(writer, body.operands, 1, 0), closings, lanes, distributed)
    if closings:
        nest.chunks([size], partials)
    else:
        nest.plain([writer.share(size, BLOCK)])
    scalars.leave()
    declarations = [*distributed.declarations, *declare([c.combine for c in closings])]
    return writer.kernel_module(name, declarations, VECTORS, unroll=False)


class _DistributedNest(ElementwiseNest):
    """A nest of one axis: each partition computes STRIP elements before the next one does.

    ``names`` maps names of the straight-line body to those of the kernel.
    """

    def __init__(
        self, writer: IRWriter, body: Body, scalars: Scalars, access: Access, closings: Sequence[Closing],
        lanes: Sequence[BlockLanes], distributed: DistributedBody,
    ) -> None:  # fmt: skip
        super().__init__(writer, body, scalars, access, closings, lanes, compact=True)
        self.distributed = distributed
        mask = "i64" if any(i.type == "double" for i in distributed.varying) else "i32"  # as wide as the values it selects from
        self.types = {i.name: mask if i.type == "i1" else i.type for i in distributed.varying}
        self.bits = {i.name for i in distributed.varying if i.type == "i1"}
        self.names = {f"%word{k}": w for k, w in enumerate(scalars.words)}
        temporaries = dict.fromkeys(name for partition in distributed.partitions for name in partition.outputs)
        self.room = {name: writer.let(f"alloca [{STRIP} x {self.types[name]}], align 64", "room") for name in temporaries}
        self.bases = [access.row(k, []) for k in range(len(access.operands))]
        for k, o in enumerate(body.loads):
            if o.inner == SAME:
                self.names[f"%in{k}"] = access.load(k, self.bases[k], group=False)
        self.run(distributed.invariant, self.names)

    def inner(self, rows: Sequence[str], fixed: Mapping[int, str], low: str, high: str, first: str | None = None) -> None:
        self.strips(low, high)

    def blocks(self, rows: Sequence[str], fixed: Mapping[int, str], start: str, span: str) -> None:
        self.strips(start, self.writer.add(start, span))

    def strips(self, low: str, high: str) -> None:
        writer = self.writer
        with writer.loop(low, high, step=STRIP) as first:
            count = writer.minimum(writer.let(f"sub i64 {high}, {first}"), STRIP)
            for partition in self.distributed.partitions:
                self.partition(partition, first, count)
            for lanes, name in zip(self.lanes, self.distributed.closed, strict=True):
                self.close(lanes, name, count)

    def partition(self, partition: Partition, first: str, count: str) -> None:
        """One partition on a strip: loads its inputs, runs its instructions, keeps its outputs; the last one does all stores."""
        writer = self.writer
        with writer.loop("0", count, independent=True) as at:
            index = writer.add(first, at)
            names = dict(self.names)
            for name in partition.inputs:
                names[name] = self.operand(int(name[3:]), index) if name.startswith("%in") else self.load_temporary(name, at)
            self.run(self.distributed.varying[partition.first : partition.last], names)
            for name in partition.outputs:
                kind, value = self.types[name], names[name]
                value = writer.let(f"sext i1 {value} to {kind}") if name in self.bits else value
                writer.store(kind, value, self.temporary(name, at))
            if partition is self.distributed.partitions[-1]:
                for which, stored in enumerate(self.distributed.stored, len(self.body.loads)):
                    self.access.store(which, self.access.element(which, self.bases[which], index), names.get(stored, stored))

    def close(self, lanes: BlockLanes, name: str, count: str) -> None:
        """Combines a strip of a temporary into the lanes: element i goes to lane i % BLOCK."""
        writer = self.writer
        whole = writer.round_down(count, BLOCK)
        with writer.loop("0", whole, step=BLOCK) as block:
            self.combine(lanes, name, block, str(BLOCK))
        self.combine(lanes, name, whole, writer.let(f"sub i64 {count}, {whole}"))

    def combine(self, lanes: BlockLanes, name: str, first: str, count: str) -> None:
        with self.writer.loop("0", count, independent=True) as lane:
            lanes.combine(lane, self.load_temporary(name, self.writer.add(first, lane)))

    def operand(self, which: int, index: str) -> str:
        return self.access.load(which, self.access.element(which, self.bases[which], index))

    def temporary(self, name: str, index: str) -> str:
        """The address of an element of a temporary."""
        return self.writer.element(self.types[name], self.room[name], index)

    def load_temporary(self, name: str, index: str) -> str:
        kind = self.types[name]
        value = self.writer.load(kind, self.temporary(name, index))
        return self.writer.let(f"icmp slt {kind} {value}, 0") if name in self.bits else value

    def run(self, instructions: Sequence[LLVMInstruction], names: dict[str, str]) -> None:
        """Writes instructions with the names of the kernel, and adds the names of their results."""
        for i in instructions:
            names[i.name] = self.writer.let(i.with_names(names))
