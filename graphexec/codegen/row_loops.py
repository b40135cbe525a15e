"""row_loops: the work on one element of a kernel over rows, shared by both ways to vectorise the loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from graphexec.codegen.cascade import Cascade
from graphexec.codegen.lanes import Lanes
from graphexec.codegen.operands import Access, Operand, Scalars, Step
from graphexec.codegen.writer import LLVM_TYPES, IRWriter
from graphexec.ir.fused.row_schedule import RowSchedule, Sweep, Value
from graphexec.ir.fused.scalar import ScalarRef


class RowwiseBody(NamedTuple):
    """The work on one row. A step is called for each element, or once a row, or combines the elements of a row."""

    loads: tuple[Operand, ...]
    steps: tuple[Step, ...]
    stores: tuple[tuple[Operand, ScalarRef, bool], ...]
    """Each with whether it is one value per row rather than one per element."""
    words: tuple[str, ...]


class Form(NamedTuple):
    """The shape of the loops of a kernel over rows."""

    across: bool = False
    """Whether the vectors hold elements of neighbouring rows rather than of one row."""
    whole: bool = True
    """Within a row: whether there is a loop over whole blocks of LANES elements."""
    rest: bool = True
    """Within a row: whether there is a loop over the remaining elements."""
    vectors: int = 2
    """Vectors in flight."""
    long: bool = True
    """Whether a lane may combine so many elements that a function that rounds needs a cascade."""


Read = Callable[[ScalarRef], str]
"""Gives a value for the current element."""


class Place(NamedTuple):
    """Where the current element is."""

    rows: Sequence[str]
    """Addresses of the operands' rows."""
    position: str
    """Index along the innermost axis of the operands."""
    kept: str
    """Index into the arrays of kept values."""
    lane: str
    """The lane that reductions combine it into."""


class RowLoops:
    """Emits the sweeps of a row schedule; subclasses emit the loops."""

    lanes: Mapping[int, Lanes]
    """The lanes of each reduction, by the number of its step."""

    def __init__(
        self, writer: IRWriter, body: RowwiseBody, plan: RowSchedule, access: Access, scalars: Scalars,
        room: Mapping[Value, str], form: Form,
    ) -> None:  # fmt: skip
        self.writer, self.body, self.plan, self.form = writer, body, plan, form
        self.access, self.scalars, self.room = access, scalars, room
        stores = enumerate(body.stores, len(body.loads))
        self.stored_at = {(ref.index, ref.output): which for which, (_, ref, once) in stores if not once}

    def emit(self, sizes: Sequence[str]) -> None:
        raise NotImplementedError

    def cascades_of(self, width: int) -> dict[Sweep, Cascade]:
        """The cascade of the reductions that end with each sweep, of ``width`` lanes each."""
        return {p: Cascade(self.writer, [self.lanes[k] for k in p.closes], width, self.form.long) for p in self.plan.sweeps}

    def combine(self, k: int, lane: str, value: str) -> None:
        """Combines a value into a lane of reduction ``k``."""
        raise NotImplementedError

    def type_of(self, ref: ScalarRef) -> str:
        if ref.kind == "operand":
            return self.body.loads[ref.index].dtype
        if ref.kind == "attribute":
            return "float64" if self.body.words[ref.index][0] == "f" else "int64"
        return self.body.steps[ref.index].type_of(ref.output)

    def call(self, k: int, read: Read) -> list[str]:
        step = self.body.steps[k]
        arguments = [self.writer.convert(read(a), self.type_of(a), t) for a, t in zip(step.arguments, step.types, strict=True)]
        return self.scalars.call(step, self.scalars.slots[k], arguments)

    def fixed_loads(self, rows: Sequence[str], which: Iterable[int]) -> dict[ScalarRef, str]:
        """Operands that do not move along the innermost axis, each loaded once."""
        return {ScalarRef("operand", k): self.access.load(k, rows[k], group=False) for k in which}

    def element(self, sweep: Sweep, place: Place, read: Read) -> None:
        """One element of a sweep: reloads values of earlier sweeps, calls the steps, keeps, stores and reduces the results."""
        known = {found: self._reload(found, place) for found in sweep.loads}

        def value(ref: ScalarRef) -> str:
            if ref.kind == "call" and (ref.index, ref.output) in known:
                return known[ref.index, ref.output]
            return read(ref)

        for k in sweep.steps:
            known.update({(k, o): result for o, result in enumerate(self.call(k, value))})
        for found in self.room:
            if found[0] in sweep.steps and found not in sweep.loads and self._is_first(sweep, found[0]):
                self.writer.store(self._kind(found), known[found], self._kept_at(found, place.kept))
        for k in sweep.stores:
            operand, ref, _ = self.body.stores[k]
            which = len(self.body.loads) + k
            address = self.access.element(which, place.rows[which], place.position)
            self.access.store(which, address, self.writer.convert(value(ref), self.type_of(ref), operand.dtype))
        for k in sweep.closes:
            ref = self.body.steps[k].arguments[0]
            self.combine(k, place.lane, self.writer.convert(value(ref), self.type_of(ref), self.body.steps[k].accumulator))

    def _reload(self, found: Value, place: Place) -> str:
        """A value that an earlier sweep computed: from scratch memory, or from the output that it was stored to."""
        if found in self.room:
            return self.writer.load(self._kind(found), self._kept_at(found, place.kept))
        which = self.stored_at[found]
        loaded = self.access.load(which, self.access.element(which, place.rows[which], place.position))
        return self.writer.convert(loaded, self.access.operands[which].dtype, self.body.steps[found[0]].type_of(found[1]))

    def _is_first(self, sweep: Sweep, k: int) -> bool:
        return next(p for p in self.plan.sweeps if k in p.steps) is sweep

    def _kind(self, found: Value) -> str:
        return LLVM_TYPES[self.body.steps[found[0]].type_of(found[1])]

    def _kept_at(self, found: Value, index: str) -> str:
        return self.writer.element(self._kind(found), self.room[found], index)
