"""loop_distribution: divides a long loop body into partitions, loops that run one after another over a strip of elements.

A body of several hundred instructions needs more registers than the processor has, and is one chain of dependent operations: the
processor waits and spills. A partition is a stretch that fits. Values that a later partition needs are kept in temporaries for a
strip of elements, which stay in the first-level cache. The cuts are placed where few values cross, which is after each inlined
function. LLVM calls this transformation loop distribution.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

MIN_INSTRUCTIONS = 96
"""Instructions of the shortest body that is divided."""

LOOP_COST, SPILL_COST, REGISTERS = 8, 2, 6
"""Costs in instructions, of a partition's loop and of each live value beyond REGISTERS; REGISTERS is a number of values."""

CHAIN = 30
"""Instructions of a dependent chain that the processor can overlap with the elements that follow."""

NEARBY = 4
"""A candidate cut crosses no more values than any other cut within this many instructions of it."""

MAX_INSTRUCTIONS = 6 * CHAIN
"""Instructions of the longest partition that is considered, if there is a choice; it bounds the time of planning."""

NAME = re.compile(r"%[\w.$-]+|%\"[^\"]+\"")
"""A value in IR text."""


class LLVMInstruction(NamedTuple):
    """One LLVM instruction: its result, the result's LLVM type, the names it reads, and its text after ``=``."""

    name: str
    type: str
    reads: tuple[str, ...]
    text: str

    def with_names(self, names: Mapping[str, str]) -> str:
        """The text with the names it reads replaced."""
        return NAME.sub(lambda m: names.get(m[0], m[0]), self.text)


class StraightLineBody(NamedTuple):
    """Instructions in an order in which they can run, and the final stores."""

    instructions: tuple[LLVMInstruction, ...]
    stores: dict[str, tuple[str, str]]
    """For each pointer's name: LLVM type, and name or constant. LLVM may have chosen another type of the same size."""
    declarations: tuple[str, ...]


class Partition(NamedTuple):
    """Instructions ``first`` to ``last``, exclusive; the operands and temporaries they read; the temporaries they leave."""

    first: int
    last: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def plan_partitions(
    reads: Mapping[str, Sequence[str]], operands: Collection[str], stored: Sequence[str], kept: Sequence[str] = ()
) -> list[Partition]:
    """The cheapest partitions of a body, by dynamic programming over the candidate cuts.

    ``reads`` maps each value, in the order of computation, to the values it is computed from. All of ``stored`` is available in the
    last partition, which alone may overwrite an operand. All of ``kept`` is an output of the partition that computes it.
    """
    body = _Body(reads, operands, stored, kept)
    cuts = body.candidates()
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [0])}
    for before, end in pairwise(cuts):
        near = {c for c in cuts if end - MAX_INSTRUCTIONS <= c < end} or {before}
        cost, start = min((best[start][0] + cost, start) for start, cost in body.costs(end, near))
        best[end] = (cost, [*best[start][1], end])
    path = best[len(body.names)][1]
    return [body.partition(first, last) for first, last in pairwise(path)]


class _Body:
    def __init__(
        self, reads: Mapping[str, Sequence[str]], operands: Collection[str], stored: Sequence[str], kept: Sequence[str]
    ) -> None:
        self.names, self.reads, self.operands, self.kept = list(reads), reads, operands, set(kept)
        self.at = {name: k for k, name in enumerate(self.names)}
        self.end = len(self.names)
        self.stored = [s for s in dict.fromkeys(stored) if s in self.at or s in operands]
        self.uses: dict[str, list[int]] = {}
        for k, name in enumerate(self.names):
            for r in reads[name]:
                self.uses.setdefault(r, []).append(k)
        for name in self.stored:
            self.uses.setdefault(name, []).append(self.end)

    def candidates(self) -> list[int]:
        """The cuts that no nearby cut beats in values crossing, and the two ends."""
        changes = np.zeros(self.end + 2, np.int64)
        for name, k in self.at.items():
            changes[k + 1] += 1
            changes[max(self.uses.get(name, [k])[-1], k) + 1] -= 1
        crossing = np.cumsum(changes)[: self.end + 1]
        lowest = np.lib.stride_tricks.sliding_window_view(np.pad(crossing, NEARBY, mode="edge"), 2 * NEARBY + 1).min(axis=1)
        inner = [int(p) for p in np.flatnonzero(crossing == lowest) if NEARBY <= p <= self.end - NEARBY]
        return [0, *inner, self.end]

    def partition(self, first: int, last: int) -> Partition:
        names = self.names[first:last]
        read = [r for name in names for r in self.reads[name]] + (self.stored if last == self.end else [])
        inputs = [r for r in dict.fromkeys(read) if r in self.operands or self.at.get(r, self.end) < first]
        outputs = [name for name in names if name in self.kept or (last < self.end and last <= self.uses.get(name, [-1])[-1])]
        return Partition(first, last, tuple(inputs), tuple(outputs))

    def costs(self, end: int, starts: Collection[int]) -> Iterator[tuple[int, float]]:
        """For each partition from one of ``starts`` to ``end``: (start, cost in instructions beyond its own).

        The partition grows backwards by one instruction at a time; ``alive[-k]`` counts the values alive at its k-th instruction
        from the end.
        """
        inputs = set(self.stored) if end == self.end else set()
        outputs, alive = 0, np.zeros(end - min(starts), np.int64)
        for first in range(end - 1, min(starts) - 1, -1):
            name = self.names[first]
            inputs.discard(name)
            inputs.update(self.reads[name])
            uses = self.uses.get(name, ())
            if name in self.kept or (uses and uses[-1] >= end and end < self.end):
                outputs += 1
            inside = bisect.bisect_left(uses, end)
            if inside:
                alive[first - end + 1 : uses[inside - 1] - end + 1 or None] += 1
            if first in starts:
                length = end - first
                waiting = max(length * length / CHAIN - length, 0)
                spilled = max(int(alive.max()) - REGISTERS, 0)
                yield first, len(inputs) + outputs + LOOP_COST + SPILL_COST * spilled + waiting
