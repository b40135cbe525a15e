"""codegen_stages: a long elementwise loop as several, one after another over a block of elements; see `stages`.

What happens to an element is first written as a function by itself, so that LLVM inlines the ops and merges what they have
in common (:func:`element_ir`); its instructions are then put into the loops of a kernel (:func:`staged_ir`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from graphexec.abi import BLOCK
from graphexec.codegen.elementwise import (  # fmt: skip
    LLVM_TYPES,
    SAME,
    Body,
    Closing,
    _Access,
    _declare,
    _Lanes,
    _Lines,
    _module,
    _Nest,
    _Scalars,
    _share,
    words_of,
)
from graphexec.codegen.loop_distribution import LEAST, Instruction, Stage, Straight, plan_stages

SPAN = 128
"""Elements that a stage does before the next one begins, a multiple of BLOCK. Two dozen temporaries and the operands of so many
take half of a first cache of 32 KiB. With four times as many, one thread took 20 to 40 % longer on arrays of the third cache."""

VECTORS = 4
"""Vectors at a time in a stage."""

_MARK = ", !llvm.access.group !94"


def element_ir(name: str, body: Body, closings: Sequence[Closing]) -> str:
    """``i32 name(loads, attributes, pointers for stores and closings)``: what happens to one element."""
    lines = _Lines()
    scalars = _Scalars(lines, body, [f"%word{k}" for k in range(len(body.words))])
    loaded = [f"%in{k}" for k in range(len(body.loads))]
    results = scalars.run(loaded)
    ends = [(f"%out{k}", ref, o.dtype) for k, (o, ref) in enumerate(body.stores)]
    ends += [(f"%close{k}", c.value, c.dtype) for k, c in enumerate(closings)]
    for pointer, ref, dtype in ends:
        lines.put(f"store {LLVM_TYPES[dtype]} {scalars.value(ref, loaded, results, dtype)}, ptr {pointer}")
    lines.put(f"ret i32 {lines.let('load i32, ptr %status')}")
    parameters = [f"{LLVM_TYPES[o.dtype]} {v}" for o, v in zip(body.loads, loaded, strict=True)]
    parameters += [f"{'double' if t[0] == 'f' else 'i64'} {w}" for t, w in zip(body.words, scalars.words, strict=True)]
    parameters += [f"ptr noalias {pointer}" for pointer, _, _ in ends]
    return (
        "\n".join(dict.fromkeys(_declare(body.steps)))
        + f"\ndefine i32 @{name}({', '.join(parameters)}) nounwind {{\nentry:\n"
        + "\n".join(lines.lines)
        + "\n}\n"
    )


class Staged(NamedTuple):
    """A body as stages: the instructions that are the same for every element, those that are not, and where these are cut."""

    once: Sequence[Instruction]
    each: Sequence[Instruction]
    stages: Sequence[Stage]
    stored: Sequence[str]
    """The name, or the constant, that each store gets."""
    closed: Sequence[str]
    """The name of what each closing combines."""
    declarations: Sequence[str]


def cut(straight: Straight, body: Body, closings: Sequence[Closing]) -> Staged | None:
    """The stages of a body; None where one loop is as good."""
    ends = {f"out{k}": o.dtype for k, (o, _) in enumerate(body.stores)} | {f"close{k}": c.dtype for k, c in enumerate(closings)}
    if ends.keys() != straight.stores.keys():
        return None
    instructions, results = list(straight.instructions), []
    for pointer, dtype in ends.items():
        (kind, result), wanted = straight.stores[pointer], LLVM_TYPES[dtype]
        if kind != wanted:
            instructions.append(Instruction(f"%as.{pointer}", wanted, (result,), f"bitcast {kind} {result} to {wanted}"))
            result = instructions[-1].name
        results.append(result)
    operands = {f"%in{k}" for k, o in enumerate(body.loads) if o.inner != SAME}
    once, each = _apart(instructions, operands)
    made = {i.name: i.reads for i in each}
    stored, closed = results[: len(body.stores)], results[len(body.stores) :]
    if len(each) < LEAST or not made.keys() >= set(closed):
        return None
    stages = plan_stages(made, operands, stored, closed)
    return Staged(once, each, stages, stored, closed, straight.declarations) if len(stages) > 1 else None


def _apart(instructions: Sequence[Instruction], operands: Collection[str]) -> tuple[list[Instruction], list[Instruction]]:
    """What is the same for every element, and what is not."""
    once, each, moving = [], [], set(operands)  # type: tuple[list[Instruction], list[Instruction], set[str]]
    for instruction in instructions:
        if moving.isdisjoint(instruction.reads):
            once.append(instruction)
        else:
            each.append(instruction)
            moving.add(instruction.name)
    return once, each


def staged_ir(name: str, body: Body, closings: Sequence[Closing], staged: Staged) -> str:
    """As `elementwise_ir` for one axis, with the same record."""
    lines = _Lines()
    operands = [*body.loads, *(o for o, _ in body.stores)]
    attributes = 1 + sum(words_of(o, 0) for o in operands)
    words = lines.numbers(attributes, body.words)
    scalars = _Scalars(lines, body._replace(steps=()), words)
    closers = [_Lanes(lines, scalars, c.combine, c.dtype, c.identity, str(k)) for k, c in enumerate(closings)]
    partials = [lines.pointer(attributes + len(body.words) + k) for k in range(len(closings))]
    size = lines.word(0, "n")
    access = _Access(lines, operands, 1, 0)
    nest = _StagedNest(lines, body, scalars, access, list(zip(closings, closers, strict=True)), staged)
    if closings:
        nest.chunks([size], partials)
    else:
        nest.plain([_share(lines, size, BLOCK)])
    scalars.leave()
    declarations = [*staged.declarations, *_declare([c.combine for c in closings])]
    return _module(lines, name, declarations, VECTORS, unroll=False)


class _StagedNest(_Nest):
    """A nest of one axis, whose elements are done SPAN at a time."""

    def __init__(
        self, lines: _Lines, body: Body, scalars: _Scalars, access: _Access, closings: list[tuple[Closing, _Lanes]], staged: Staged
    ) -> None:
        super().__init__(lines, body, scalars, access, closings)
        self.staged = staged
        mask = "i64" if any(i.type == "double" for i in staged.each) else "i32"  # as wide as what it chooses between
        self.types = {i.name: mask if i.type == "i1" else i.type for i in staged.each}
        self.bits = {i.name for i in staged.each if i.type == "i1"}
        self.names = {f"%word{k}": w for k, w in enumerate(scalars.words)}
        left = dict.fromkeys(name for stage in staged.stages for name in stage.leaves)
        self.room = {name: lines.let(f"alloca [{SPAN} x {self.types[name]}], align 64", "room") for name in left}
        self.bases = [access.row(k, []) for k in range(len(access.operands))]
        for k, o in enumerate(body.loads):
            if o.inner == SAME:
                self.names[f"%in{k}"] = access.load(k, self.bases[k], group=False)
        self.run(staged.once, self.names)

    def inner(self, rows: Sequence[str], fixed: Mapping[int, str], low: str, high: str, first: str | None = None) -> None:
        self.spans(low, high)

    def blocks(self, rows: Sequence[str], fixed: Mapping[int, str], start: str, span: str) -> None:
        self.spans(start, self.lines.let(f"add i64 {start}, {span}"))

    def spans(self, low: str, high: str) -> None:
        lines = self.lines
        loop = lines.begin(low, high)
        left = lines.let(f"sub i64 {high}, {loop[0]}")
        count = lines.let(f"select i1 {lines.let(f'icmp slt i64 {left}, {SPAN}')}, i64 {left}, i64 {SPAN}")
        for stage in self.staged.stages:
            self.stage(stage, loop[0], count)
        for (_, lanes), name in zip(self.closings, self.staged.closed, strict=True):
            self.close(lanes, name, count)
        lines.end(loop, step=SPAN)

    def stage(self, stage: Stage, first: str, count: str) -> None:
        lines = self.lines
        loop = lines.begin("0", count)
        index = lines.let(f"add i64 {first}, {loop[0]}")
        names = dict(self.names)
        for name in stage.takes:
            names[name] = self.operand(int(name[3:]), index) if name.startswith("%in") else self.kept(name, loop[0])
        self.run(self.staged.each[stage.first : stage.last], names)
        for name in stage.leaves:
            kind, value = self.types[name], names[name]
            value = lines.let(f"sext i1 {value} to {kind}") if name in self.bits else value
            lines.put(f"store {kind} {value}, ptr {self.place(name, loop[0])}{_MARK}")
        if stage is self.staged.stages[-1]:
            for which, stored in enumerate(self.staged.stored, len(self.body.loads)):
                self.access.store(which, self.access.element(which, self.bases[which], index), names.get(stored, stored))
        lines.end(loop, independent=True)

    def close(self, lanes: _Lanes, name: str, count: str) -> None:
        """Element i goes to lane i % BLOCK."""
        lines = self.lines
        whole = lines.let(f"and i64 {count}, {-BLOCK}")
        block = lines.begin("0", whole)
        self.combine(lanes, name, block[0], str(BLOCK))
        lines.end(block, step=BLOCK)
        self.combine(lanes, name, whole, lines.let(f"sub i64 {count}, {whole}"))

    def combine(self, lanes: _Lanes, name: str, first: str, count: str) -> None:
        loop = self.lines.begin("0", count)
        lanes.combine(loop[0], self.kept(name, self.lines.let(f"add i64 {first}, {loop[0]}")))
        self.lines.end(loop, independent=True)

    def operand(self, which: int, index: str) -> str:
        return self.access.load(which, self.access.element(which, self.bases[which], index))

    def place(self, name: str, index: str) -> str:
        return self.lines.let(f"getelementptr {self.types[name]}, ptr {self.room[name]}, i64 {index}")

    def kept(self, name: str, index: str) -> str:
        kind = self.types[name]
        value = self.lines.let(f"load {kind}, ptr {self.place(name, index)}{_MARK}")
        return self.lines.let(f"icmp slt {kind} {value}, 0") if name in self.bits else value

    def run(self, instructions: Sequence[Instruction], names: dict[str, str]) -> None:
        for i in instructions:
            names[i.name] = self.lines.let(i.with_names(names))
