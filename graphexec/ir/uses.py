"""Uses: finds the node that produces each value of a function, and the nodes that read it.

Each list is computed on first use, in one walk over the nodes. A read accesses memory: a shape-only operand is a use, but not
a read.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from graphexec.ir.aliases import Aliases
from graphexec.ir.function import ABSENT, Function

LIVE_OUT_READS = 2
"""The number of reads that a live-out value adds: more than one, so that no pass treats its only reader as its last."""


class Uses:
    """Use-def chains of one function. ``live_out`` adds to the function's own live-out values."""

    def __init__(self, fn: Function, live_out: Iterable[int] = (), aliases: Aliases | None = None) -> None:
        self.fn, self.live_out = fn, {*fn.live_out, *live_out}
        if aliases is not None:
            self.aliases = aliases

    @cached_property
    def aliases(self) -> Aliases:
        """Alias analysis of the function."""
        return Aliases(self.fn)

    @cached_property
    def producer(self) -> list[int]:
        """For each value, the position of the node that computes it; -1 for leaves and for ABSENT."""
        found = [-1] * (len(self.fn.names) + 1)  # the last one is for ABSENT
        for position, node in enumerate(self.fn.nodes):
            for value in node.outputs:
                found[value] = position
        return found

    @cached_property
    def readers(self) -> list[list[int]]:
        """For each value, the ascending, distinct positions of the nodes that take it as operand; the last is for ABSENT."""
        found: list[list[int]] = [[] for _ in range(len(self.fn.names) + 1)]
        for position, node in enumerate(self.fn.nodes):
            for value in node.inputs:
                known = found[value]
                if not known or known[-1] != position:
                    known.append(position)
        return found

    @cached_property
    def operand_count(self) -> list[int]:
        """For each value, the number of operands that it is; a live-out value counts LIVE_OUT_READS more."""
        count = [0] * (len(self.fn.names) + 1)
        for node in self.fn.nodes:
            for value in node.inputs:
                count[value] += 1
        return self._with_live_out(count)

    @cached_property
    def read_count(self) -> list[int]:
        """As :attr:`operand_count`, without shape-only operands."""
        count = [0] * (len(self.fn.names) + 1)
        for node in self.fn.nodes:
            for value in node.reads:
                count[value] += 1
        return self._with_live_out(count)

    def _with_live_out(self, count: list[int]) -> list[int]:
        for value in self.live_out:
            count[value] += LIVE_OUT_READS
        return count

    @cached_property
    def first_shape_use(self) -> dict[int, int]:
        """For each value that is a shape-only operand, the position of the first node that uses it so."""
        found: dict[int, int] = {}
        lenders = {op for op in self.fn.ops if op.shape_only}
        for position, node in enumerate(self.fn.nodes) if lenders else ():
            if node.op in lenders:
                for value in set(node.inputs).difference(node.reads, (ABSENT,)):
                    found.setdefault(value, position)
        return found

    @cached_property
    def memory_readers(self) -> dict[int, list[int]]:
        """For each base, the ascending, distinct positions of the nodes that read its memory through any alias."""
        base, found = self.aliases.base, {}  # type: ignore[var-annotated]
        for position, node in enumerate(self.fn.nodes):
            for value in node.reads:
                known = found.setdefault(base(value), [])
                if not known or known[-1] != position:
                    known.append(position)
        return found

    def first_use(self, value: int) -> int:
        """The position of the first node that reads the memory of a value; the number of nodes if none does."""
        return next(iter(self.memory_readers.get(self.aliases.base(value), ())), len(self.fn.nodes))

    def last_use(self, value: int) -> int:
        """The position of the last node that reads the memory of a value; -1 if none does."""
        readers = self.memory_readers.get(self.aliases.base(value))
        return readers[-1] if readers else -1
