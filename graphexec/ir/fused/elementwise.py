"""FusedOp and RowsOp: several nodes as one op, so that values between them never reach memory."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from graphexec import math
from graphexec.ir.fused.row_schedule import RowSchedule, Task, schedule_rows
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.op import Attributes, Op, Specs
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp
from graphexec.ir.spec import TensorSpec, broadcast


class FusedClose(NamedTuple):
    """A full reduction at the end of a fused op; gives one partial result for each chunk."""

    op: ReductionOp
    source: ScalarRef


@dataclass(frozen=True, eq=False, kw_only=True)
class FusedOp(ElementwiseOp):
    """Made by the pass `fuse`, never declared. Outputs are the stored results, then the partial results of closings."""

    kind: ClassVar[str] = "elementwise"

    calls: tuple[BodyCall, ...] = ()
    results: tuple[ScalarRef, ...] = ()
    closings: tuple[FusedClose, ...] = field(default=())

    def trace(self, specs: Specs) -> list[tuple[TensorSpec, ...]]:
        """The specs of what each call gives."""
        known: list[tuple[TensorSpec, ...]] = []
        for call in self.calls:
            arguments = [self.spec_of(a, specs, known) for a in call.arguments]
            known.append(call.op.infer(arguments, call.attributes))
        return known

    def spec_of(self, source: ScalarRef, specs: Specs, known: Sequence[tuple[TensorSpec, ...]]) -> TensorSpec:
        found = specs[source.index] if source.kind == "operand" else known[source.index][source.output]
        assert found is not None
        return found

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        known = self.trace(specs)
        results = [self.spec_of(r, specs, known) for r in self.results]
        # how many partial results there are depends on the layout, which decides it
        return (*results, *(TensorSpec((1,), self.spec_of(c.source, specs, known).dtype) for c in self.closings))

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        known: list[tuple[np.ndarray, ...]] = []

        def array(source: ScalarRef) -> Any:
            return arrays[source.index] if source.kind == "operand" else known[source.index][source.output]

        for call in self.calls:
            known.append(call.op.evaluate([array(a) for a in call.arguments], call.attributes))
        closed = [c.op.evaluate([array(c.source)], {"axis": None, "keepdims": False})[0].reshape(1) for c in self.closings]
        return [*(array(r) for r in self.results), *closed]


@dataclass(frozen=True, eq=False, kw_only=True)
class RowwiseOp(Op):
    """Made by the pass `rows`, never declared: elementwise ops over rows, with reductions along each row between them.

    A row runs along the last axis of the shape to which the operands broadcast. A reduction gives a column, one element a row.
    """

    kind: ClassVar[str] = "rows"

    calls: tuple[BodyCall, ...] = ()
    results: tuple[RowResult, ...] = ()
    flat: frozenset[int] = frozenset()
    """Operands without the last axis: one element a row."""

    def shape_of(self, specs: Specs) -> tuple[int, ...]:
        """The shape that is walked."""
        return broadcast([s.shape for s in self._columns(specs)])

    def _columns(self, specs: Specs) -> list[TensorSpec]:
        found = [s for s in specs if s is not None]
        return [TensorSpec((*s.shape, 1), s.dtype) if k in self.flat else s for k, s in enumerate(found)]

    def trace(self, specs: Specs) -> list[tuple[TensorSpec, ...]]:
        """The specs of what each call gives, columns with a last axis of size 1."""
        operands = self._columns(specs)
        known: list[tuple[TensorSpec, ...]] = []
        for call in self.calls:
            arguments = [operands[a.index] if a.kind == "operand" else known[a.index][a.output] for a in call.arguments]
            if isinstance(call.op, ReductionOp):
                known.append((TensorSpec((*arguments[0].shape[:-1], 1), call.op.output_type("out", arguments[0].dtype)),))
            else:
                known.append(call.op.infer(arguments, call.attributes))
        return known

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        known, shape = self.trace(specs), self.shape_of(specs)
        shapes = {"full": shape, "column": (*shape[:-1], 1), "flat": shape[:-1]}
        return tuple(TensorSpec(shapes[r.form], known[r.source.index][r.source.output].dtype) for r in self.results)

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        operands = [np.expand_dims(a, -1) if k in self.flat else a for k, a in enumerate(arrays)]
        known: list[tuple[np.ndarray, ...]] = []
        for call in self.calls:
            arguments = [operands[a.index] if a.kind == "operand" else known[a.index][a.output] for a in call.arguments]
            if isinstance(call.op, ReductionOp):
                assert call.op.reference is not None
                known.append((np.expand_dims(call.op.reference(arguments[0], axis=(-1,)), -1),))
            else:
                known.append(call.op.evaluate(arguments, call.attributes))
        found = [known[r.source.index][r.source.output] for r in self.results]
        found = [a[..., 0] if r.form == "flat" else a for a, r in zip(found, self.results, strict=True)]
        return [np.broadcast_to(a, s.shape) for a, s in zip(found, outputs, strict=True)]

    @functools.cache  # noqa: B019 - ops are constants, and few
    def plan(self, fixed: tuple[bool, ...]) -> RowSchedule:
        """The phases of its kernel, for operands some of which do not move along a row."""
        tasks = [
            Task(tuple(a for a in c.arguments), isinstance(c.op, ReductionOp), is_expensive(c.op.function))
            for c in self.calls
        ]
        return schedule_rows(tasks, fixed, [(r.source, r.form != "full") for r in self.results])


class RowResult(NamedTuple):
    """A value that a kernel over rows stores: "full", or one element a row as a "column" of the same rank or "flat"."""

    source: ScalarRef
    form: str


@functools.cache
def is_expensive(function: Callable[..., Any]) -> bool:
    """Whether a scalar function takes more than arithmetic: whether it reaches one of `graphexec.math` that is no instruction."""
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    found = [function.__globals__[name] for name in code.co_names if name in function.__globals__]
    if math in found and any(name in math.__all__ and name not in _CHEAP for name in code.co_names):
        return True
    return any(_calls_dear(f) for f in found if callable(f))


_CHEAP = ("sqrt", "like")


def _calls_dear(function: Callable[..., Any]) -> bool:
    if getattr(function, "__module__", "") == math.__name__:
        return function.__name__ not in _CHEAP
    return isinstance(function, types.FunctionType) and is_expensive(function)
