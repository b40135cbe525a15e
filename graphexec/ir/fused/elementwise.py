"""FusedOp: fuses several elementwise nodes into one op, so that intermediate values never reach memory."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from graphexec import math
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.op import Attributes, Specs
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp
from graphexec.ir.spec import TensorSpec


class FusedClose(NamedTuple):
    """A full reduction at the end of a fused op. It gives one partial result per chunk."""

    op: ReductionOp
    source: ScalarRef


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FusedOp(ElementwiseOp):
    """Built by passes, never declared. Outputs: the stored results, then the partial results of the closing reductions."""

    op_class: ClassVar[str] = "elementwise"

    calls: tuple[BodyCall, ...] = ()
    results: tuple[ScalarRef, ...] = ()
    closings: tuple[FusedClose, ...] = field(default=())

    def trace(self, specs: Specs) -> list[tuple[TensorSpec, ...]]:
        """The specs of the results of each call."""
        known: list[tuple[TensorSpec, ...]] = []
        for call in self.calls:
            arguments = [self.spec_of(a, specs, known) for a in call.arguments]
            known.append(call.op.infer(arguments, call.attributes))
        return known

    def spec_of(self, source: ScalarRef, specs: Specs, known: Sequence[tuple[TensorSpec, ...]]) -> TensorSpec:
        """The spec of an operand or of a call's result."""
        found = specs[source.index] if source.kind == "operand" else known[source.index][source.output]
        assert found is not None
        return found

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        known = self.trace(specs)
        results = [self.spec_of(r, specs, known) for r in self.results]
        for c in self.closings:
            shape = self.spec_of(c.source, specs, known).shape
            c.op.check_elements(shape, range(len(shape)))
        # layout assignment decides the number of partial results
        return (*results, *(TensorSpec((1,), self.spec_of(c.source, specs, known).dtype) for c in self.closings))

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        known: list[tuple[np.ndarray, ...]] = []

        def array(source: ScalarRef) -> Any:
            return arrays[source.index] if source.kind == "operand" else known[source.index][source.output]

        for call in self.calls:
            known.append(call.op.evaluate([array(a) for a in call.arguments], call.attributes))
        closed = [c.op.evaluate([array(c.source)], {"axis": None, "keepdims": False})[0].reshape(1) for c in self.closings]
        return [*(array(r) for r in self.results), *closed]


def fused_op(
    calls: Sequence[BodyCall], operands: int, results: tuple[ScalarRef, ...], updates: tuple[str, ...],
    closings: tuple[FusedClose, ...] = (),
) -> FusedOp:  # fmt: skip
    """Builds the op that applies ``calls`` to operands x0, x1, ...; its first results overwrite the operands in ``updates``."""
    names = [c.op.name for c in calls] + [c.op.name for c in closings]
    return FusedOp(
        name="fused", function=no_function, inputs=tuple(f"x{k}" for k in range(operands)),
        outputs=tuple(f"out{k}" for k in range(len(results) + len(closings))), kinds="fib", updates=updates, calls=tuple(calls),
        results=results, closings=closings, differentiable=False, doc=" ".join(names),
    )  # fmt: skip


def no_function(*_: Any) -> Any:
    """A placeholder for the function of a fused op, which has none: code generation uses its calls."""
    raise AssertionError("a fused op has no function of its own")


@functools.cache
def is_expensive(function: Callable[..., Any]) -> bool:
    """Whether a scalar function calls a function of `graphexec.math` that takes more than one instruction."""
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    found = [function.__globals__[name] for name in code.co_names if name in function.__globals__]
    if math in found and any(name in math.__all__ and name not in _CHEAP for name in code.co_names):
        return True
    return any(_calls_expensive(f) for f in found if callable(f))


_CHEAP = ("sqrt", "like")


def _calls_expensive(function: Callable[..., Any]) -> bool:
    if getattr(function, "__module__", "") == math.__name__:
        return function.__name__ not in _CHEAP
    return isinstance(function, types.FunctionType) and is_expensive(function)
