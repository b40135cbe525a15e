"""HorizontalOp: applies one update rule to several parameters in one instruction.

For small parameters, the overhead of an instruction exceeds the update itself. Values that a rule computes once per step,
such as Adam's bias corrections, are also computed only once per instruction.
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


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class HorizontalOp(Op):
    """Built by the pass `horizontal_fusion`, never declared. Operands: the first member's, the second's, ..., then the shared one.

    Outputs: the first member's, the second's, ... Each overwrites an operand.
    """

    op_class: ClassVar[str] = "horizontal"

    rule: ElementwiseOp
    members: int = 0

    @property
    def own(self) -> int:
        """The number of operands that belong to one member alone."""
        return sum(name != self.rule.shared_operand for name in self.rule.inputs)

    def member(self, values: Sequence[T], m: int) -> list[T]:
        """Picks the rule's operands for one member from the node's operands."""
        mine = iter(values[m * self.own : (m + 1) * self.own])
        return [values[-1] if name == self.rule.shared_operand else next(mine) for name in self.rule.inputs]

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        return tuple(s for m in range(self.members) for s in self.rule.infer(self.member(specs, m), attributes))

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        return [out for m in range(self.members) for out in self.rule.evaluate(self.member(arrays, m), attributes)]


@cache
def horizontal_op(rule: ElementwiseOp, members: int) -> HorizontalOp:
    """Builds the op that applies a rule to a number of parameters."""
    own = [name for name in rule.inputs if name != rule.shared_operand]
    shared = [name for name in rule.inputs if name == rule.shared_operand]
    return HorizontalOp(
        name=f"{rule.name} x {members}", function=rule.function,
        inputs=(*(f"{name}{m}" for m in range(members) for name in own), *shared),
        outputs=tuple(f"{name}{m}" for m in range(members) for name in rule.outputs),
        updates=tuple(f"{name}{m}" for m in range(members) for name in rule.updates), attributes=rule.attributes,
        differentiable=False, rule=rule, members=members, doc=rule.doc,
    )  # fmt: skip
