"""FusedOp: several elementwise nodes as one op, so that values between them never reach memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from graphexec.op import Attributes, ElementwiseOp, ReductionOp, Specs
from graphexec.spec import TensorSpec


class Source(NamedTuple):
    """Where a scalar of a fused op comes from: operand ``index``, or ``output`` of call ``index``."""

    kind: str
    index: int  # type: ignore[assignment]  # the name of a method of tuples that nobody calls
    output: int = 0


@dataclass(frozen=True)
class FusedCall:
    """One of the ops that a fused op is made of."""

    op: ElementwiseOp
    attributes: Mapping[str, Any]
    arguments: tuple[Source, ...]


class FusedClose(NamedTuple):
    """A full reduction at the end of a fused op; gives one partial result for each chunk."""

    op: ReductionOp
    source: Source


@dataclass(frozen=True, eq=False, kw_only=True)
class FusedOp(ElementwiseOp):
    """Made by the pass `fuse`, never declared. Outputs are the stored results, then the partial results of closings."""

    kind: ClassVar[str] = "elementwise"

    calls: tuple[FusedCall, ...] = ()
    results: tuple[Source, ...] = ()
    closings: tuple[FusedClose, ...] = field(default=())

    def trace(self, specs: Specs) -> list[tuple[TensorSpec, ...]]:
        """The specs of what each call gives."""
        known: list[tuple[TensorSpec, ...]] = []
        for call in self.calls:
            arguments = [self.spec_of(a, specs, known) for a in call.arguments]
            known.append(call.op.infer(arguments, call.attributes))
        return known

    def spec_of(self, source: Source, specs: Specs, known: Sequence[tuple[TensorSpec, ...]]) -> TensorSpec:
        found = specs[source.index] if source.kind == "in" else known[source.index][source.output]
        assert found is not None
        return found

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        known = self.trace(specs)
        results = [self.spec_of(r, specs, known) for r in self.results]
        # how many partial results there are depends on the layout, which decides it
        return (*results, *(TensorSpec((1,), self.spec_of(c.source, specs, known).dtype) for c in self.closings))

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        known: list[tuple[np.ndarray, ...]] = []

        def array(source: Source) -> Any:
            return arrays[source.index] if source.kind == "in" else known[source.index][source.output]

        for call in self.calls:
            known.append(call.op.evaluate([array(a) for a in call.arguments], call.attributes))
        closed = [c.op.evaluate([array(c.source)], {"axis": None, "keepdims": False})[0].reshape(1) for c in self.closings]
        return [*(array(r) for r in self.results), *closed]
