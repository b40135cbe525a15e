"""GemmEpilogueOp: a matrix product with an elementwise epilogue, which runs on each tile as soon as the tile is finished.

The epilogue reads elements that are still in cache, on the thread that computed them, so that no barrier is needed between
the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar

from graphexec.ir.intrinsics import GEMM_SCRATCH, gemm
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Attributes, GemmTrait, Op, Specs
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.spec import TensorSpec


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class GemmEpilogueOp(Op):
    """Built by the pass `gemm_epilogue`, never declared. Operands: a, b, then those of ``epilogue`` without the product.

    Outputs: those of ``epilogue``, then the product itself, which may share memory with one of them.
    """

    op_class: ClassVar[str] = "gemm_epilogue"

    product: KernelOp
    """The product, with its factors in the order a, b."""
    epilogue: ElementwiseOp
    slot: int = 0
    """The operand of ``epilogue`` that is the product."""
    epilogue_attributes: Mapping[str, Any] = field(default_factory=dict)

    def epilogue_inputs(self, values: Sequence[Any], made: Any) -> list[Any]:
        """Assembles the operands of ``epilogue`` from the node's operands and the product."""
        others = list(values[2:])
        return [*others[: self.slot], made, *others[self.slot :]]

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        (made,) = self.product.infer(specs[:2], {})
        return (*self.epilogue.infer(self.epilogue_inputs(specs, made), self.epilogue_attributes), made)

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        (made,) = self.product.evaluate(arrays[:2], {})
        return [*self.epilogue.evaluate(self.epilogue_inputs(arrays, made), self.epilogue_attributes), made]


def gemm_epilogue_op(product: KernelOp, epilogue: ElementwiseOp, slot: int, attributes: Mapping[str, Any]) -> GemmEpilogueOp:
    """Builds the op that applies ``epilogue`` to ``product``, which is its operand number ``slot``."""
    product = in_order(product)
    others = [f"x{k}" for k, _ in enumerate(epilogue.inputs) if k != slot]
    updates = tuple(f"x{epilogue.inputs.index(name)}" for name in epilogue.updates)
    return GemmEpilogueOp(
        name=f"{product.name}+{epilogue.name}", function=product.function, inputs=(*product.inputs, *others),
        outputs=(*(f"out{k}" for k, _ in enumerate(epilogue.outputs)), "product"), updates=updates, differentiable=False,
        product=product, epilogue=epilogue, slot=slot, epilogue_attributes=dict(attributes),
        doc=f"{product.name} {epilogue.doc or epilogue.name}",
    )  # fmt: skip


@cache
def in_order(product: KernelOp) -> KernelOp:
    """Returns the product with its factors in the order a, b; most already have it."""
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
def with_epilogue(product: KernelOp) -> KernelOp:
    """Returns the engine's kernel of the product, with the address of its epilogue (see `gemm.loops`) as an attribute."""
    return replace(
        product, function=_with_epilogue, attributes={"after": 0}, strided=frozenset(product.inputs), parallel=True,
        scratch=GEMM_SCRATCH,
    )  # fmt: skip


def _with_epilogue(a, b, out, scratch, piece, pieces, *, after=0):  # type: ignore[no-untyped-def] # compiled
    return gemm(a, b, out, scratch, piece, pieces, False, after)
