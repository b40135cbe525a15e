"""GemmEpilogueOp: a matrix product, and an elementwise op that is applied to each part of it as soon as that part is finished.

The elementwise op works on elements that are still in the cache, on the thread that computed them, so that threads need no
barrier between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar

from graphexec.ir.intrinsics import GEMM_SCRATCH, gemm
from graphexec.ir.op import Attributes, GemmTrait, Op, Specs
from graphexec.ir.op_kinds import ElementwiseOp, KernelOp
from graphexec.ir.spec import TensorSpec


@dataclass(frozen=True, eq=False, kw_only=True)
class GemmEpilogueOp(Op):
    """Made by the pass `gemm_epilogue`, never declared. Operands: a, b, then those of ``then`` without the product.

    Outputs: those of ``then``, and the product itself, whose memory may be that of one of them.
    """

    kind: ClassVar[str] = "product"

    product: KernelOp
    """The product, its factors in the order a, b."""
    then: ElementwiseOp
    slot: int = 0
    """Which operand of ``then`` is the product."""
    then_attributes: Mapping[str, Any] = field(default_factory=dict)

    def then_inputs(self, values: Sequence[Any], made: Any) -> list[Any]:
        """The operands of ``then``, out of the node's and the product."""
        others = list(values[2:])
        return [*others[: self.slot], made, *others[self.slot :]]

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        (made,) = self.product.infer(specs[:2], {})
        return (*self.then.infer(self.then_inputs(specs, made), self.then_attributes), made)

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        (made,) = self.product.evaluate(arrays[:2], {})
        return [*self.then.evaluate(self.then_inputs(arrays, made), self.then_attributes), made]


def gemm_epilogue_op(product: KernelOp, then: ElementwiseOp, slot: int, attributes: Mapping[str, Any]) -> GemmEpilogueOp:
    """``then`` after ``product``, which is its operand number ``slot``."""
    product = in_order(product)
    others = [f"x{k}" for k, _ in enumerate(then.inputs) if k != slot]
    updates = tuple(f"x{then.inputs.index(name)}" for name in then.updates)
    return GemmEpilogueOp(
        name=f"{product.name}+{then.name}", function=product.function, inputs=(*product.inputs, *others),
        outputs=(*(f"out{k}" for k, _ in enumerate(then.outputs)), "product"), updates=updates, differentiable=False,
        product=product, then=then, slot=slot, then_attributes=dict(attributes), doc=f"{product.name} {then.doc or then.name}",
    )  # fmt: skip


@cache
def in_order(product: KernelOp) -> KernelOp:
    """The product with its factors in the order a, b: itself, for most."""
    trait = product.gemm
    assert trait is not None
    assert product.core is not None
    if trait.a == 0:
        return product
    reference = product.reference
    return replace(
        product, inputs=product.inputs[::-1], core=(product.core[1], product.core[0], product.core[2]), gemm=GemmTrait(),
        reference=None if reference is None else lambda a, b: reference(b, a),
        function=lambda a, b, *others: product.function(b, a, *others),
    )  # fmt: skip


@cache
def followed(product: KernelOp) -> KernelOp:
    """The engine's kernel of the product, with the address of what is done to finished parts (`gemm.loops`) as a number more."""
    return replace(
        product, function=_followed, attributes={"after": 0}, strided=frozenset(product.inputs), parallel=True, scratch=GEMM_SCRATCH
    )


def _followed(a, b, out, scratch, piece, pieces, *, after=0):  # type: ignore[no-untyped-def] # compiled
    return gemm(a, b, out, scratch, piece, pieces, False, after)
