"""RowwiseOp: fuses reductions along rows with the elementwise nodes before, between and after them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from graphexec.ir.fused.row_schedule import RowSchedule, schedule_rows
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.op import Attributes, Op, Specs
from graphexec.ir.op_kinds import ReductionOp
from graphexec.ir.spec import TensorSpec, broadcast


class RowResult(NamedTuple):
    """A value that a row-wise kernel stores: "full", or one element per row as a "column" of the same rank or "flat"."""

    source: ScalarRef
    form: str


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class RowwiseOp(Op):
    """Built by the pass `fuse_rows`, never declared: elementwise ops over rows, with reductions along each row between them.

    A row runs along the last axis of the shape to which the operands broadcast. A reduction gives one element per row, a column.
    """

    op_class: ClassVar[str] = "rowwise"

    calls: tuple[BodyCall, ...] = ()
    results: tuple[RowResult, ...] = ()
    flat: frozenset[int] = frozenset()
    """Operands without the last axis, which have one element per row."""

    def shape_of(self, specs: Specs) -> tuple[int, ...]:
        """The shape over which the kernel iterates."""
        return broadcast([s.shape for s in self._columns(specs)])

    def _columns(self, specs: Specs) -> list[TensorSpec]:
        found = [s for s in specs if s is not None]
        return [TensorSpec((*s.shape, 1), s.dtype) if k in self.flat else s for k, s in enumerate(found)]

    def trace(self, specs: Specs) -> list[tuple[TensorSpec, ...]]:
        """The specs of the results of each call; a column's last axis has size 1."""
        operands = self._columns(specs)
        known: list[tuple[TensorSpec, ...]] = []
        for call in self.calls:
            arguments = [operands[a.index] if a.kind == "operand" else known[a.index][a.output] for a in call.arguments]
            if isinstance(call.op, ReductionOp):
                call.op.check_elements(arguments[0].shape, (arguments[0].ndim - 1,))
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
        """Schedules the sweeps of its kernel; ``fixed`` marks the operands with one element per row."""
        return schedule_rows(self.calls, fixed, [(r.source, r.form != "full") for r in self.results])
