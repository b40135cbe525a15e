"""The base of passes that fuse parts of a schedule: which values leave a part, and how the fused nodes replace the parts."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, Generic, NamedTuple, TypeVar

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import Function
from graphexec.ir.op import Op
from graphexec.ir.uses import Uses
from graphexec.rewrite.fusion.scheduler import Part

FusedKind = TypeVar("FusedKind", bound=Op)


class FusedPart(NamedTuple):
    """A fused op for a part, with its operands and results as value numbers."""

    key: Any
    op: Op
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    after: Sequence[int]
    """Positions of nodes that follow it at once, in another place than they had."""


class PartFusion(Generic[FusedKind]):
    """Fuses parts of a function; parts of one structure share one op."""

    def __init__(self, fn: Function, uses: Uses) -> None:
        self.fn, self.uses = fn, uses
        self.ops: dict[Any, FusedKind] = {}

    def leaves(self, value: int, here: Set[int]) -> bool:
        """Whether a value is live-out, or read by nodes outside the positions ``here``."""
        return value in self.uses.live_out or any(reader not in here for reader in self.uses.readers[value])

    def put(self, builder: FunctionBuilder, part: Part, fused: FusedPart) -> None:
        """Adds the nodes that replace a part."""
        raise NotImplementedError

    def replace(self, parts: Sequence[Part], chosen: Sequence[tuple[Part, FusedPart]]) -> Function:
        """The function in the order of ``parts``, with the chosen ones replaced."""
        if not chosen:
            return self.fn.with_nodes([self.fn.nodes[p] for part in parts for p in part])
        replaced = {part[0]: fused for part, fused in chosen}
        moved = {p for _, fused in chosen for p in fused.after}
        builder = FunctionBuilder(self.fn)
        for part in parts:
            if part[0] in replaced:
                self.put(builder, part, replaced[part[0]])
            else:
                builder.nodes += [self.fn.nodes[p] for p in part if p not in moved]
        return builder.build(self.fn)
