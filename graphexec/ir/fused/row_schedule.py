"""Schedules a row-wise kernel: sweeps along a row, and between them the calls that run once per row.

A sweep is one loop along the row. A reduction ends with the first sweep that can compute its operand; calls that depend on
its result run in later sweeps. Softmax takes three sweeps: maximum, sum and quotient. If a later sweep needs a value again,
it recomputes an inexpensive one, and loads an expensive one or one that is stored anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphexec.ir.fused.elementwise import is_expensive
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.op_kinds import ReductionOp

Value = tuple[int, int]
"""A call, and the number of its output."""


class Sweep(NamedTuple):
    """A loop along the row, and the calls that run once before it."""

    once: tuple[int, ...]
    """Calls whose operands have one element per row."""
    loads: tuple[Value, ...]
    """Values that earlier sweeps stored."""
    steps: tuple[int, ...]
    """Calls that run on each element."""
    closes: tuple[int, ...]
    """Reductions that end with the loop."""
    stores: tuple[int, ...]
    """Results that the loop writes, by number."""


class RowSchedule(NamedTuple):
    """Sweeps in their order; the calls in ``once`` follow them, and results with one element per row are written last."""

    sweeps: tuple[Sweep, ...]
    once: tuple[int, ...]
    kept: tuple[Value, ...]
    """Values that one sweep stores for another and that are not results; each needs scratch memory for one row."""
    fixed: tuple[bool, ...]
    """For each call, whether it gives one value per row."""


def schedule_rows(calls: Sequence[BodyCall], fixed: Sequence[bool], results: Sequence[tuple[ScalarRef, bool]]) -> RowSchedule:
    """Schedules calls over operands; ``fixed`` marks the operands with one element per row.

    ``results`` gives the source of each result, and whether it has one element per row instead of a full row.
    """
    return _Scheduler(calls, fixed, results).schedule()


class _Scheduler:
    def __init__(self, calls: Sequence[BodyCall], fixed: Sequence[bool], results: Sequence[tuple[ScalarRef, bool]]) -> None:
        self.calls, self.results = calls, results
        self.reduces = [isinstance(call.op, ReductionOp) for call in calls]
        self.fixed: list[bool] = []
        self.level: list[int] = []
        for call, reduces in zip(calls, self.reduces, strict=True):
            self.fixed.append(reduces or all(self._is_fixed(a, fixed) for a in call.arguments))
            self.level.append(max((self._level(a) for a in call.arguments), default=0) + reduces)
        self.written = {(r.index, r.output): k for k, (r, once) in enumerate(results) if not once and r.kind == "call"}
        self.kept: dict[Value, None] = {}
        self.first: dict[int, int] = {}

    def _is_fixed(self, ref: ScalarRef, fixed: Sequence[bool]) -> bool:
        return self.fixed[ref.index] if ref.kind == "call" else ref.kind == "attribute" or fixed[ref.index]

    def _level(self, ref: ScalarRef) -> int:
        return self.level[ref.index] if ref.kind == "call" else 0

    def schedule(self) -> RowSchedule:
        full = [k for k, (_, once) in enumerate(self.results) if not once]
        closing = [self.level[k] - 1 for k, reduces in enumerate(self.reduces) if reduces]
        count = max([*closing, *(self._level(self.results[k][0]) for k in full)], default=-1) + 1
        sweeps = [self._sweep(s, s == count - 1, full) for s in range(count)]
        return RowSchedule(tuple(sweeps), self._once(count), tuple(self.kept), tuple(self.fixed))

    def _once(self, s: int) -> tuple[int, ...]:
        return tuple(k for k, reduces in enumerate(self.reduces) if self.fixed[k] and not reduces and self.level[k] == s)

    def _sweep(self, s: int, last: bool, full: Sequence[int]) -> Sweep:
        closes = tuple(k for k, reduces in enumerate(self.reduces) if reduces and self.level[k] - 1 == s)
        loads: dict[Value, None] = {}
        steps: dict[int, None] = {}
        for k in closes:
            self._want(self.calls[k].arguments[0], s, loads, steps)
        stores = [k for k in full if not self._is_written(k, s)]
        if last:
            for k in stores:
                self._want(self.results[k][0], s, loads, steps)
        else:
            stores = [k for k in stores if self.results[k][0].kind == "call" and self.results[k][0].index in steps]
        return Sweep(self._once(s), tuple(loads), tuple(steps), closes, tuple(stores))

    def _is_written(self, result: int, s: int) -> bool:
        ref = self.results[result][0]
        return ref.kind == "call" and self.first.get(ref.index, s) < s

    def _want(self, ref: ScalarRef, s: int, loads: dict[Value, None], steps: dict[int, None]) -> None:
        """Adds the loads and calls that a sweep needs for a value; depth first, without recursion, because chains can be long."""
        stack = [(ref, False)]
        while stack:
            ref, ready = stack.pop()
            k, value = ref.index, (ref.index, ref.output)
            if ref.kind != "call" or self.fixed[k] or k in steps or value in loads:
                continue
            if self.first.get(k, s) < s and (value in self.written or is_expensive(self.calls[k].op.function)):
                loads[value] = None
                if value not in self.written:
                    self.kept[value] = None
            elif ready:
                steps[k] = None
                self.first.setdefault(k, s)
            else:
                stack.append((ref, True))
                stack += [(a, False) for a in reversed(self.calls[k].arguments)]
