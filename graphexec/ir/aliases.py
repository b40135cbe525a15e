"""Updates: what the update nodes of an order write over, which `fold` and `merge` must leave alone."""

from __future__ import annotations

from graphexec.ir.function import Function, Node
from graphexec.ir.op_kinds import ViewOp


class Updates:
    """Knows in whose memory each value lies, and whose memory is written over."""

    def __init__(self, fn: Function) -> None:
        self._base: dict[int, int] = {}
        self.written: set[int] = set()
        """The values whose memory is written over, none of them a view."""
        if not any(node.op.updates for node in fn.nodes):
            return
        for node in fn.nodes:
            if isinstance(node.op, ViewOp):
                self._base[node.outputs[0]] = self.base(node.inputs[0])
            elif node.op.updates:
                targets = self.targets(node)
                self._base.update(zip(node.outputs, targets, strict=False))
                self.written.update(targets)

    def base(self, value: int) -> int:
        """The value in whose memory this one lies: itself, unless it is a view or an update's output."""
        return self._base.get(value, value)

    def targets(self, node: Node) -> list[int]:
        """The values in whose memory an update writes, in the order of its outputs."""
        return [self.base(node.inputs[node.op.inputs.index(name)]) for name in node.op.updates]

    def touch(self, value: int) -> bool:
        """Whether an update writes over the memory of a value."""
        return self.base(value) in self.written
