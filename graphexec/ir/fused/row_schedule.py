"""What a kernel over rows does when: phases along a row, with what is done once a row between them.

A phase is a loop along the row. A reduction closes in the first phase in which its operand can be had, and what follows
from it belongs to later phases: softmax takes three, for the maximum, the sum, and the quotient. What a later phase needs
again is computed again where that is cheap; where it is dear, or stored anyway, it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphexec.ir.fused.scalar import ScalarRef

Value = tuple[int, int]
"""A step, and which of its outputs."""


class Task(NamedTuple):
    """A step as far as the plan is concerned."""

    arguments: tuple[ScalarRef, ...]
    reduces: bool
    dear: bool
    """Whether it costs more to compute it twice than to keep it."""


class Phase(NamedTuple):
    """A loop along the row, and what is done once before it."""

    once: tuple[int, ...]
    """Steps whose operands do not move along the row."""
    loads: tuple[Value, ...]
    """Values that earlier phases have kept."""
    steps: tuple[int, ...]
    closes: tuple[int, ...]
    """Reductions that end with the loop."""
    stores: tuple[int, ...]
    """Results that the loop writes, by number."""


class RowSchedule(NamedTuple):
    """Phases in order; ``once`` is done after them, with the results of which a row has one."""

    phases: tuple[Phase, ...]
    once: tuple[int, ...]
    kept: tuple[Value, ...]
    """Values that are kept from one phase to another and are no result; each needs room for a row."""
    fixed: tuple[bool, ...]
    """Which steps give one value a row."""


def schedule_rows(tasks: Sequence[Task], fixed_loads: Sequence[bool], results: Sequence[tuple[ScalarRef, bool]]) -> RowSchedule:
    """The plan for steps over operands, some of which do not move along the row.

    ``results`` says for each where it comes from, and whether a row has one of it rather than one an element.
    """
    return _Planner(tasks, fixed_loads, results).plan()


class _Planner:
    def __init__(self, tasks: Sequence[Task], fixed_loads: Sequence[bool], results: Sequence[tuple[ScalarRef, bool]]) -> None:
        self.tasks, self.results = tasks, results
        self.fixed: list[bool] = []
        self.level: list[int] = []
        for task in tasks:
            self.fixed.append(task.reduces or all(self._is_fixed(a, fixed_loads) for a in task.arguments))
            self.level.append(max((self._level(a) for a in task.arguments), default=0) + task.reduces)
        self.written = {(r.index, r.output): k for k, (r, once) in enumerate(results) if not once and r.kind == "call"}
        self.kept: dict[Value, None] = {}
        self.first: dict[int, int] = {}

    def _is_fixed(self, ref: ScalarRef, fixed_loads: Sequence[bool]) -> bool:
        return self.fixed[ref.index] if ref.kind == "call" else ref.kind == "attribute" or fixed_loads[ref.index]

    def _level(self, ref: ScalarRef) -> int:
        return self.level[ref.index] if ref.kind == "call" else 0

    def plan(self) -> RowSchedule:
        full = [k for k, (_, once) in enumerate(self.results) if not once]
        closing = [self.level[k] - 1 for k, t in enumerate(self.tasks) if t.reduces]
        count = max([*closing, *(self._level(self.results[k][0]) for k in full)], default=-1) + 1
        phases = [self._phase(p, p == count - 1, full) for p in range(count)]
        return RowSchedule(tuple(phases), self._once(count), tuple(self.kept), tuple(self.fixed))

    def _once(self, p: int) -> tuple[int, ...]:
        return tuple(k for k, t in enumerate(self.tasks) if self.fixed[k] and not t.reduces and self.level[k] == p)

    def _phase(self, p: int, last: bool, full: Sequence[int]) -> Phase:
        closes = tuple(k for k, t in enumerate(self.tasks) if t.reduces and self.level[k] - 1 == p)
        loads: dict[Value, None] = {}
        steps: dict[int, None] = {}
        for k in closes:
            self._want(self.tasks[k].arguments[0], p, loads, steps)
        stores = [k for k in full if not self._is_written(k, p)]
        if last:
            for k in stores:
                self._want(self.results[k][0], p, loads, steps)
        else:
            stores = [k for k in stores if self.results[k][0].kind == "call" and self.results[k][0].index in steps]
        return Phase(self._once(p), tuple(loads), tuple(steps), closes, tuple(stores))

    def _is_written(self, result: int, p: int) -> bool:
        ref = self.results[result][0]
        return ref.kind == "call" and self.first.get(ref.index, p) < p

    def _want(self, ref: ScalarRef, p: int, loads: dict[Value, None], steps: dict[int, None]) -> None:
        """Takes in what a phase must load and compute for a value; depth first, without recursion: chains are long."""
        stack = [(ref, False)]
        while stack:
            ref, ready = stack.pop()
            k, value = ref.index, (ref.index, ref.output)
            if ref.kind != "call" or self.fixed[k] or k in steps or value in loads:
                continue
            if self.first.get(k, p) < p and (self.tasks[k].dear or value in self.written):
                loads[value] = None
                if value not in self.written:
                    self.kept[value] = None
            elif ready:
                steps[k] = None
                self.first.setdefault(k, p)
            else:
                stack.append((ref, True))
                stack += [(a, False) for a in reversed(self.tasks[k].arguments)]
