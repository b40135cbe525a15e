"""stages: where a long loop body is cut into loops that run one after another over a block of elements.

A body of several hundred instructions needs more registers than there are, and is one chain of dependent operations: the
processor waits and spills. A stage is a stretch of it that fits; what a later stage needs is kept in a block of temporaries,
which stays in the first cache. The cuts lie where few values cross, which is after each function that was inlined.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

LEAST = 96
"""Instructions below which a body is one loop."""

LOOP_COST, SPILL_COST, REGISTERS = 8, 2, 6
"""In instructions: of a stage's loop, and of each value more than so many that it works on at a time."""

CHAIN = 30
"""Instructions of a chain up to which the processor finds enough to do in the elements that follow."""

NEARBY = 4
"""Instructions on either side within which a cut crosses the fewest values."""

LONGEST = 6 * CHAIN
"""Instructions of a stage, where there is a choice: longer ones need not be considered, and would take long to."""

NAME = re.compile(r"%[\w.$-]+|%\"[^\"]+\"")
"""A value in IR text."""


class Instruction(NamedTuple):
    """One instruction: its result, the result's LLVM type, the names it reads, and its text behind ``=``."""

    name: str
    type: str
    reads: tuple[str, ...]
    text: str

    def with_names(self, names: Mapping[str, str]) -> str:
        """The text, reading other names."""
        return NAME.sub(lambda m: names.get(m[0], m[0]), self.text)


class Straight(NamedTuple):
    """The instructions in an order in which they can be run, and what is stored in the end."""

    instructions: tuple[Instruction, ...]
    stores: dict[str, tuple[str, str]]
    """By the name of the pointer: LLVM type, and name or constant. LLVM may have chosen another type of the same size."""
    declarations: tuple[str, ...]


class Stage(NamedTuple):
    """The instructions ``first`` to ``last``, exclusive; what it takes from operands and temporaries; what it leaves there."""

    first: int
    last: int
    takes: tuple[str, ...]
    leaves: tuple[str, ...]


def plan_stages(
    made: Mapping[str, Sequence[str]], operands: Collection[str], stored: Sequence[str], kept: Sequence[str] = ()
) -> list[Stage]:
    """The stages of a body: values in the order in which they are ``made``, each with the names of those that it is made of.

    All of ``stored`` is at hand in the last stage: an operand may be overwritten there, and not before. All of ``kept`` is left.
    """
    body = _Body(made, operands, stored, kept)
    cuts = body.candidates()
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [0])}
    for before, end in pairwise(cuts):
        near = {c for c in cuts if end - LONGEST <= c < end} or {before}
        cost, start = min((best[start][0] + cost, start) for start, cost in body.costs(end, near))
        best[end] = (cost, [*best[start][1], end])
    path = best[len(body.names)][1]
    return [body.stage(first, last) for first, last in pairwise(path)]


class _Body:
    def __init__(
        self, made: Mapping[str, Sequence[str]], operands: Collection[str], stored: Sequence[str], kept: Sequence[str]
    ) -> None:
        self.names, self.made, self.operands, self.kept = list(made), made, operands, set(kept)
        self.at = {name: k for k, name in enumerate(self.names)}
        self.end = len(self.names)
        self.stored = [s for s in dict.fromkeys(stored) if s in self.at or s in operands]
        self.uses: dict[str, list[int]] = {}
        for k, name in enumerate(self.names):
            for r in made[name]:
                self.uses.setdefault(r, []).append(k)
        for name in self.stored:
            self.uses.setdefault(name, []).append(self.end)

    def candidates(self) -> list[int]:
        """Where fewer values cross than nearby, and the two ends."""
        changes = np.zeros(self.end + 2, np.int64)
        for name, k in self.at.items():
            changes[k + 1] += 1
            changes[max(self.uses.get(name, [k])[-1], k) + 1] -= 1
        crossing = np.cumsum(changes)[: self.end + 1]
        lowest = np.lib.stride_tricks.sliding_window_view(np.pad(crossing, NEARBY, mode="edge"), 2 * NEARBY + 1).min(axis=1)
        inner = [int(p) for p in np.flatnonzero(crossing == lowest) if NEARBY <= p <= self.end - NEARBY]
        return [0, *inner, self.end]

    def stage(self, first: int, last: int) -> Stage:
        made = self.names[first:last]
        read = [r for name in made for r in self.made[name]] + (self.stored if last == self.end else [])
        takes = [r for r in dict.fromkeys(read) if r in self.operands or self.at.get(r, self.end) < first]
        leaves = [name for name in made if name in self.kept or (last < self.end and last <= self.uses.get(name, [-1])[-1])]
        return Stage(first, last, tuple(takes), tuple(leaves))

    def costs(self, end: int, starts: Collection[int]) -> Iterator[tuple[int, float]]:
        """What each stage costs that ends there: (start, instructions more than its own). Grows it by one instruction at a time."""
        takes = set(self.stored) if end == self.end else set()
        leaves, alive = 0, np.zeros(end - min(starts), np.int64)  # alive[-k]: while the k-th instruction before the end is done
        for first in range(end - 1, min(starts) - 1, -1):
            name = self.names[first]
            takes.discard(name)
            takes.update(self.made[name])
            uses = self.uses.get(name, ())
            if name in self.kept or (uses and uses[-1] >= end and end < self.end):
                leaves += 1
            inside = bisect.bisect_left(uses, end)
            if inside:
                alive[first - end + 1 : uses[inside - 1] - end + 1 or None] += 1
            if first in starts:
                length = end - first
                waiting = max(length * length / CHAIN - length, 0)
                yield first, len(takes) + leaves + LOOP_COST + SPILL_COST * max(int(alive.max()) - REGISTERS, 0) + waiting
