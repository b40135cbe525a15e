"""Aliases: finds the values of a function that share memory, and the updates that overwrite it.

A view shares the memory of the value that it shows; an update's output shares that of the operand that it overwrites. Every
pass that moves, merges or removes nodes checks here that no overwrite comes between a value and its readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphexec.ir.function import Function, Node
from graphexec.ir.op_kinds import ViewOp


class Aliases:
    """Alias analysis of one function, in one walk over its views and updates."""

    def __init__(self, fn: Function) -> None:
        self._shown: dict[int, int] = {}
        self._base: dict[int, int] = {}
        self._writes: dict[int, list[tuple[int, int]]] = {}
        sharing = {op for op in fn.ops if isinstance(op, ViewOp) or op.updates}
        for position, node in enumerate(fn.nodes) if sharing else ():
            if node.op in sharing:
                self._add(position, node)

    def _add(self, position: int, node: Node) -> None:
        if isinstance(node.op, ViewOp):
            x, out = node.inputs[0], node.outputs[0]
            self._shown[out], self._base[out] = self.shown(x), self.base(x)
            return
        for output, target in zip(node.outputs, node.update_targets, strict=False):
            base = self.base(target)
            self._base[output] = base
            self._writes.setdefault(base, []).append((position, target))

    def shown(self, value: int) -> int:
        """Follows a chain of views to the value that it shows; returns any other value unchanged."""
        return self._shown.get(value, value)

    def base(self, value: int) -> int:
        """Returns the value that owns the memory, followed through views and outputs of updates."""
        return self._base.get(value, value)

    @property
    def written(self) -> Mapping[int, Sequence[tuple[int, int]]]:
        """For each overwritten base, the ascending positions of its updates, and the operands through which they refer to it."""
        return self._writes

    def is_written(self, value: int) -> bool:
        """Whether an update overwrites the memory of a value."""
        return self._base.get(value, value) in self._writes

    def writes(self, value: int) -> Sequence[tuple[int, int]]:
        """The updates of a value's memory: ascending positions, and the operands through which they refer to it."""
        return self._writes.get(self._base.get(value, value), ())

    def written_between(self, value: int, first: int, last: int) -> bool:
        """Whether a node after position ``first``, up to and including ``last``, overwrites the memory of a value."""
        return any(first < position <= last for position, _ in self.writes(value))

    def targets(self, node: Node) -> list[int]:
        """The bases that an update overwrites, in the order of its outputs."""
        return [self.base(target) for target in node.update_targets]
