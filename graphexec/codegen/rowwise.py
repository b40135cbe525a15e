"""codegen_rows: the loops of a kernel over rows: elementwise steps with reductions along each row between them.

Two forms. *Along*: one row after the other, the innermost loop runs along the row; a reduction combines LANES lanes side by
side, element i in lane i % LANES. *Across*: BLOCK rows at a time, the innermost loop runs over them and the lanes are rows;
for rows that are short, and for rows that do not lie along memory. Either way the order of every sum is fixed by the shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from graphexec.abi import BLOCK
from graphexec.codegen.elementwise import (  # fmt: skip
    LLVM_TYPES,
    SAME,
    Body,
    Operand,
    Step,
    _Access,
    _declare,
    _Lines,
    _module,
    _Scalars,
    _share,
    words_of,
)
from graphexec.ir.fused.row_schedule import RowSchedule, Sweep, Value
from graphexec.ir.fused.scalar import ScalarRef  # fmt: skip

LANES = 32
"""Elements of a row that are combined side by side; fewer than in a reduction alone, because each row ends with combining them."""

_MARK = ", !llvm.access.group !94"


class RowStep(NamedTuple):
    """A scalar function of a kernel over rows: called for each element, once a row, or to combine the elements of a row."""

    step: Step
    dtype: str = ""
    """Of a reduction: the type in which it accumulates."""
    identity: str = ""
    """Of a reduction: the neutral element, as IR text."""

    def type_of(self, output: int) -> str:
        return self.dtype or self.step.results[output]


class RowwiseBody(NamedTuple):
    """What happens to a row: loads, steps, and stores with, for each, whether a row has one of it."""

    loads: tuple[Operand, ...]
    steps: tuple[RowStep, ...]
    stores: tuple[tuple[Operand, ScalarRef, bool], ...]
    words: tuple[str, ...]


class Form(NamedTuple):
    """How the loops of a kernel over rows go."""

    across: bool = False
    whole: bool = True
    """Along: whether there is a loop for whole blocks of LANES elements."""
    rest: bool = True
    """Along: whether there is one for what is left over."""
    vectors: int = 2
    """Vectors at a time."""


def rowwise_ir(name: str, body: RowwiseBody, plan: RowSchedule, ndim: int, form: Form) -> str:
    """A loop nest of ``ndim`` axes whose rows run along the last axis, or, across, along the one before it.

    Record: sizes and operands as in `elementwise_ir`, in the order of the loops; then the attributes; then, where values are
    kept, the address of scratch memory, the bytes for each value and those for each thread.
    """
    lines = _Lines()
    operands = [*body.loads, *(o for o, _, _ in body.stores)]
    attributes = ndim + sum(words_of(o, ndim - 1) for o in operands)
    steps = tuple(s.step for s in body.steps)
    scalars = _Scalars(lines, Body(body.loads, steps, (), body.words), lines.numbers(attributes, body.words))
    sizes = [lines.word(d, "n") for d in range(ndim)]
    access = _Access(lines, operands, ndim, ndim - 1)
    room = _room(lines, plan, attributes + len(body.words))
    (_Across if form.across else _Along)(lines, body, plan, access, scalars, room, form).emit(sizes)
    scalars.leave()
    return _module(lines, name, _declare(steps), form.vectors, unroll=False)


def _room(lines: _Lines, plan: RowSchedule, at: int) -> dict[Value, str]:
    """The address of each kept value's room in this thread's scratch memory."""
    if not plan.kept:
        return {}
    mine = lines.let(f"mul i64 %who, {lines.word(at + 2)}")
    start = lines.let(f"getelementptr i8, ptr {lines.pointer(at)}, i64 {mine}")
    each = lines.word(at + 1)
    offsets = [lines.let(f"mul i64 {each}, {k}") for k in range(len(plan.kept))]
    return {v: lines.let(f"getelementptr i8, ptr {start}, i64 {o}") for v, o in zip(plan.kept, offsets, strict=True)}


Read = Callable[[ScalarRef], str]
"""Gives a value at the element that is being done."""


class _Rows:
    """What both forms share: an element of a phase, in terms of addresses that a form knows."""

    def __init__(
        self, lines: _Lines, body: RowwiseBody, plan: RowSchedule, access: _Access, scalars: _Scalars,
        room: Mapping[Value, str], form: Form
    ) -> None:
        self.lines, self.body, self.plan, self.form = lines, body, plan, form
        self.access, self.scalars, self.room = access, scalars, room
        self.places = {(r.index, r.output): len(body.loads) + k for k, (_, r, once) in enumerate(body.stores) if not once}

    def emit(self, sizes: Sequence[str]) -> None:
        raise NotImplementedError

    def combine(self, k: int, lane: str, value: str) -> None:
        """Element of a reduction: into lane ``lane`` of this form."""
        raise NotImplementedError

    def type_of(self, ref: ScalarRef) -> str:
        if ref.kind == "operand":
            return self.body.loads[ref.index].dtype
        if ref.kind == "attribute":
            return "float64" if self.body.words[ref.index][0] == "f" else "int64"
        return self.body.steps[ref.index].type_of(ref.output)

    def call(self, k: int, read: Read) -> list[str]:
        step = self.body.steps[k].step
        arguments = [self.lines.convert(read(a), self.type_of(a), t) for a, t in zip(step.arguments, step.types, strict=True)]
        return self.scalars.call(step, self.scalars.slots[k], arguments)

    def element(self, phase: Sweep, rows: Sequence[str], index: str, kept: str, lane: str, read: Read) -> None:
        """An element of a phase. ``rows`` and ``index`` say where operands lie, ``kept`` where a kept value does."""
        lines, access = self.lines, self.access
        known: dict[Value, str] = {}

        def value(ref: ScalarRef) -> str:
            if ref.kind == "call" and (ref.index, ref.output) in known:
                return known[ref.index, ref.output]
            return read(ref)

        for found in phase.loads:
            if found in self.room:
                kind = LLVM_TYPES[self.body.steps[found[0]].type_of(found[1])]
                known[found] = lines.let(f"load {kind}, ptr {self.kept_at(found, kept)}{_MARK}")
            else:
                place = self.places[found]
                loaded = access.load(place, access.element(place, rows[place], index))
                known[found] = lines.convert(loaded, access.operands[place].dtype, self.body.steps[found[0]].type_of(found[1]))
        for k in phase.steps:
            known.update({(k, o): result for o, result in enumerate(self.call(k, value))})
        for found in self.room:
            if found[0] in phase.steps and found not in phase.loads and self._is_first(phase, found[0]):
                kind = LLVM_TYPES[self.body.steps[found[0]].type_of(found[1])]
                lines.put(f"store {kind} {known[found]}, ptr {self.kept_at(found, kept)}{_MARK}")
        for k in phase.stores:
            operand, ref, _ = self.body.stores[k]
            at = len(self.body.loads) + k
            access.store(at, access.element(at, rows[at], index), lines.convert(value(ref), self.type_of(ref), operand.dtype))
        for k in phase.closes:
            ref = self.body.steps[k].step.arguments[0]
            self.combine(k, lane, lines.convert(value(ref), self.type_of(ref), self.body.steps[k].dtype))

    def _is_first(self, phase: Sweep, k: int) -> bool:
        return next(p for p in self.plan.sweeps if k in p.steps) is phase

    def kept_at(self, value: Value, index: str) -> str:
        kind = LLVM_TYPES[self.body.steps[value[0]].type_of(value[1])]
        return self.lines.let(f"getelementptr {kind}, ptr {self.room[value]}, i64 {index}")


class _Lanes:
    """The accumulators of a reduction along a row."""

    def __init__(self, rows: _Rows, k: int) -> None:
        self.rows, self.lines, self.k, self.step = rows, rows.lines, k, rows.body.steps[k]
        self.type = LLVM_TYPES[self.step.dtype]
        self.memory = self.lines.let(f"alloca [{LANES} x {self.type}], align 64", "lanes")

    def at(self, lane: str) -> str:
        return self.lines.let(f"getelementptr {self.type}, ptr {self.memory}, i64 {lane}")

    def load(self, lane: str) -> str:
        return self.lines.let(f"load {self.type}, ptr {self.at(lane)}{_MARK}")

    def store(self, lane: str, value: str) -> None:
        self.lines.put(f"store {self.type} {value}, ptr {self.at(lane)}{_MARK}")

    def fill(self) -> None:
        loop = self.lines.begin("0", str(LANES))
        self.store(loop[0], self.step.identity)
        self.lines.end(loop, independent=True)

    def combine(self, lane: str, value: str) -> None:
        self.store(lane, self.combined(self.load(lane), value))

    def combined(self, accumulated: str, value: str) -> str:
        new = self.rows.scalars.call(self.step.step, self.rows.scalars.slots[self.k], [accumulated, value])[0]
        return self.lines.convert(new, self.step.step.results[0], self.step.dtype)

    def total(self) -> str:
        """All lanes combined, pairwise: lane i with lane i + 16, then i + 8, ...; the last eight without memory between."""
        quarter = LANES // 4
        loop = self.lines.begin("0", str(quarter))
        lanes = [self.lines.let(f"add i64 {loop[0]}, {k * quarter}") for k in range(4)]
        halves = [self.combined(self.load(lanes[k]), self.load(lanes[k + 2])) for k in range(2)]
        self.store(loop[0], self.combined(*halves))
        self.lines.end(loop, independent=True)
        left = [self.load(str(k)) for k in range(quarter)]
        while len(left) > 1:
            half = len(left) // 2
            left = [self.combined(a, b) for a, b in zip(left[:half], left[half:], strict=True)]
        return left[0]


class _Along(_Rows):
    """One row after the other."""

    def emit(self, sizes: Sequence[str]) -> None:
        lines = self.lines
        self.lanes = {
            k: _Lanes(self, k) for k, s in enumerate(self.body.steps) if s.dtype
        }
        loops = [lines.begin(*_share(lines, sizes[0], 1)), *(lines.begin("0", n) for n in sizes[1:-1])]
        self.rows = [self.access.row(k, [loop[0] for loop in loops]) for k in range(len(self.access.operands))]
        loads = enumerate(self.body.loads)
        self.fixed = {ScalarRef("operand", k): self.access.load(k, self.rows[k], group=False) for k, o in loads if o.inner == SAME}
        for phase in self.plan.sweeps:
            self.once(phase.once)
            for k in phase.closes:
                self.lanes[k].fill()
            if phase.closes:
                self.blocks(phase, sizes[-1])
            else:
                self.loop(phase, "0", sizes[-1], None)
            for k in phase.closes:
                self.fixed[ScalarRef("call", k)] = self.lanes[k].total()
        self.once(self.plan.once)
        for k, (operand, ref, once) in enumerate(self.body.stores, len(self.body.loads)):
            if once:
                self.access.store(k, self.rows[k], lines.convert(self.read(ref), self.type_of(ref), operand.dtype))
        for loop in reversed(loops):
            lines.end(loop)

    def read(self, ref: ScalarRef) -> str:
        return self.scalars.words[ref.index] if ref.kind == "attribute" else self.fixed[ref]

    def once(self, steps: Sequence[int]) -> None:
        for k in steps:
            self.fixed.update({ScalarRef("call", k, o): result for o, result in enumerate(self.call(k, self.read))})

    def combine(self, k: int, lane: str, value: str) -> None:
        self.lanes[k].combine(lane, value)

    def loop(self, phase: Sweep, low: str, high: str, first: str | None) -> None:
        loop = self.lines.begin(low, high)
        index = loop[0] if first is None else self.lines.let(f"add i64 {first}, {loop[0]}")
        loaded: dict[ScalarRef, str] = {}

        def read(ref: ScalarRef) -> str:
            if ref.kind != "operand" or ref in self.fixed:
                return self.read(ref)
            if ref not in loaded:
                at = self.access.element(ref.index, self.rows[ref.index], index)
                loaded[ref] = self.access.load(ref.index, at)
            return loaded[ref]

        self.element(phase, self.rows, index, index, loop[0], read)
        self.lines.end(loop, independent=True)

    def blocks(self, phase: Sweep, n: str) -> None:
        """A phase that reduces: LANES elements at a time."""
        lines, done = self.lines, "0"
        if self.form.whole:
            done = lines.let(f"and i64 {n}, {-LANES}") if self.form.rest else n
            block = lines.begin("0", done)
            self.loop(phase, "0", str(LANES), block[0])
            lines.end(block, step=LANES)
        if self.form.rest:
            block = lines.begin(done, n)  # at most once where whole blocks have their own loop
            left = lines.let(f"sub i64 {n}, {block[0]}")
            span = lines.let(f"select i1 {lines.let(f'icmp slt i64 {left}, {LANES}')}, i64 {left}, i64 {LANES}")
            self.loop(phase, "0", span, block[0])
            lines.end(block, step=LANES)


class _Across(_Rows):
    """BLOCK rows at a time; what a row has one of stands in an array, an element for each row."""

    def emit(self, sizes: Sequence[str]) -> None:
        lines, (*outer, n, count) = self.lines, sizes
        self.arrays = {
            ScalarRef("call", k, o): lines.let(f"alloca [{BLOCK} x {LLVM_TYPES[s.type_of(o)]}], align 64", "rows")
            for k, s in enumerate(self.body.steps) if self.plan.fixed[k] for o in range(len(s.step.results))
        }  # fmt: skip
        bounds = [("0", size) for size in outer]
        low, high = _share(lines, sizes[0] if outer else count, 1 if outer else BLOCK)
        if outer:
            bounds[0], low, high = (low, high), "0", count
        loops = [lines.begin(*b) for b in bounds]
        block = lines.begin(low, high)
        left = lines.let(f"sub i64 {high}, {block[0]}")
        self.width = lines.let(f"select i1 {lines.let(f'icmp slt i64 {left}, {BLOCK}')}, i64 {left}, i64 {BLOCK}")
        self.block, self.outer = block[0], [loop[0] for loop in loops]
        self.fill()
        for phase in self.plan.sweeps:
            self.once(phase.once)
            self.phase(phase, n)
        self.once(self.plan.once)
        self.finish()
        lines.end(block, step=BLOCK)
        for loop in reversed(loops):
            lines.end(loop)

    def at(self, ref: ScalarRef, lane: str) -> str:
        return self.lines.let(f"getelementptr {LLVM_TYPES[self.type_of(ref)]}, ptr {self.arrays[ref]}, i64 {lane}")

    def put(self, ref: ScalarRef, lane: str, value: str) -> None:
        self.lines.put(f"store {LLVM_TYPES[self.type_of(ref)]} {value}, ptr {self.at(ref, lane)}{_MARK}")

    def combine(self, k: int, lane: str, value: str) -> None:
        step, ref = self.body.steps[k], ScalarRef("call", k)
        old = self.lines.let(f"load {LLVM_TYPES[step.dtype]}, ptr {self.at(ref, lane)}{_MARK}")
        new = self.scalars.call(step.step, self.scalars.slots[k], [old, value])[0]
        self.put(ref, lane, self.lines.convert(new, step.step.results[0], step.dtype))

    def rows(self, position: str) -> list[str]:
        """Addresses of the first row at a position along the rows."""
        return [self.access.row(k, [*self.outer, position]) for k in range(len(self.access.operands))]

    def reader(self, rows: Sequence[str], fixed: Mapping[ScalarRef, str], lane: str) -> tuple[str, Read]:
        """The index of a lane's row, and how values are read there."""
        index = self.lines.let(f"add i64 {self.block}, {lane}")
        loaded = dict(fixed)

        def read(ref: ScalarRef) -> str:
            if ref.kind == "attribute":
                return self.scalars.words[ref.index]
            if ref not in loaded:
                if ref.kind == "operand":
                    loaded[ref] = self.access.load(ref.index, self.access.element(ref.index, rows[ref.index], index))
                else:
                    loaded[ref] = self.lines.let(f"load {LLVM_TYPES[self.type_of(ref)]}, ptr {self.at(ref, lane)}{_MARK}")
            return loaded[ref]

        return index, read

    def standing(self, rows: Sequence[str]) -> dict[ScalarRef, str]:
        """Operands that are the same for all rows, loaded once."""
        return {
            ScalarRef("operand", k): self.access.load(k, rows[k], group=False)
            for k, o in enumerate(self.body.loads)
            if o.inner == SAME
        }

    def fill(self) -> None:
        for k, step in enumerate(self.body.steps):
            if step.dtype:
                loop = self.lines.begin("0", str(BLOCK))
                self.put(ScalarRef("call", k), loop[0], step.identity)
                self.lines.end(loop, independent=True)

    def once(self, steps: Sequence[int]) -> None:
        if not steps:
            return
        rows = self.rows("0")
        loop = self.lines.begin("0", self.width)
        _, read = self.reader(rows, {}, loop[0])
        known: dict[ScalarRef, str] = {}
        for k in steps:
            for o, result in enumerate(self.call(k, lambda ref: known[ref] if ref in known else read(ref))):
                known[ScalarRef("call", k, o)] = result
                self.put(ScalarRef("call", k, o), loop[0], result)
        self.lines.end(loop, independent=True)

    def phase(self, phase: Sweep, n: str) -> None:
        lines = self.lines
        position = lines.begin("0", n)
        rows = self.rows(position[0])
        fixed = self.standing(rows)
        first = lines.let(f"mul i64 {position[0]}, {BLOCK}")
        loop = lines.begin("0", self.width)
        index, read = self.reader(rows, fixed, loop[0])
        self.element(phase, rows, index, lines.let(f"add i64 {first}, {loop[0]}"), loop[0], read)
        lines.end(loop, independent=True)
        lines.end(position)

    def finish(self) -> None:
        """Stores what a row has one of."""
        ends = [(k, o, ref) for k, (o, ref, once) in enumerate(self.body.stores, len(self.body.loads)) if once]
        if not ends:
            return
        rows = self.rows("0")
        loop = self.lines.begin("0", self.width)
        index, read = self.reader(rows, {}, loop[0])
        for k, operand, ref in ends:
            value = self.lines.convert(read(ref), self.type_of(ref), operand.dtype)
            self.access.store(k, self.access.element(k, rows[k], index), value)
        self.lines.end(loop, independent=True)


def room_of(count: int, n: int, across: bool) -> tuple[int, int]:
    """Bytes that a kept value takes, of whatever type a scalar function gives, and those that ``count`` take for a thread."""
    each = max(n, 1) * (BLOCK if across else 1) * 8
    each += -each % 64
    return each, each * count
