"""MultiTensorOp: one update rule on several parameters, by one instruction.

An instruction for a few elements takes longer to reach them than to update them, and what a rule computes once a step, such as
Adam's bias corrections, it computes once an instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

from graphexec.ir.op import Attributes, Op, Specs
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.spec import TensorSpec

T = TypeVar("T")

SHARED = "step"
"""The operand of a rule that is the same for all parameters."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HorizontalOp(Op):
    """Made by the pass `multi_tensor`, never declared. Operands: the first member's, the second's, ..., then what all share.

    Outputs: the first member's, the second's, ... Each writes over an operand.
    """

    kind: ClassVar[str] = "multi_tensor"

    rule: ElementwiseOp
    members: int = 0

    @property
    def own(self) -> int:
        """How many operands each member has."""
        return sum(name != SHARED for name in self.rule.inputs)

    def member(self, values: Sequence[T], m: int) -> list[T]:
        """The rule's operands for one member, of the node's."""
        mine = iter(values[m * self.own : (m + 1) * self.own])
        return [values[-1] if name == SHARED else next(mine) for name in self.rule.inputs]

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        return tuple(s for m in range(self.members) for s in self.rule.infer(self.member(specs, m), attributes))

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        return [out for m in range(self.members) for out in self.rule.evaluate(self.member(arrays, m), attributes)]


@cache
def horizontal_op(rule: ElementwiseOp, members: int) -> HorizontalOp:
    """The rule on so many parameters."""
    own = [name for name in rule.inputs if name != SHARED]
    shared = [SHARED] if SHARED in rule.inputs else []
    return HorizontalOp(
        name=f"{rule.name} x {members}", function=rule.function,
        inputs=(*(f"{name}{m}" for m in range(members) for name in own), *shared),
        outputs=tuple(f"{name}{m}" for m in range(members) for name in rule.outputs),
        updates=tuple(f"{name}{m}" for m in range(members) for name in rule.updates), attributes=rule.attributes,
        differentiable=False, rule=rule, members=members, doc=rule.doc,
    )  # fmt: skip
