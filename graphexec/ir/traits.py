"""Helpers for traits that several passes use: they find plain matrix products and their factors."""

from __future__ import annotations

from functools import cache
from typing import TypeGuard

from graphexec.ir.function import Function, Node
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import GemmTrait, Op


@cache
def _is_product(op: Op) -> bool:
    trait = op.gemm
    if trait is None or trait.accumulate is not None or not isinstance(op, KernelOp) or op.core is None:
        return False
    plain = len(op.inputs) == 2 and len(op.outputs) == 1 and not (op.attributes or op.updates or op.optional or op.shape_only)
    return plain and {trait.a, trait.b} == {0, 1} and _multiplies(op.core[trait.a], op.core[trait.b], op.core[2])


def _multiplies(a: tuple[str, ...], b: tuple[str, ...], out: tuple[str, ...]) -> bool:
    """Whether a gufunc signature is (m,k),(k,n)->(m,n), with any letters."""
    if not len(a) == len(b) == len(out) == 2:
        return False
    return a[1] == b[0] and out == (a[0], b[1]) and len({*a, *b}) == 3


def is_product(op: Op) -> TypeGuard[KernelOp]:
    """Whether an op is a plain matrix product: (m,k),(k,n)->(m,n) of two operands, nothing else."""
    return op.gemm is not None and _is_product(op)


def products(fn: Function) -> set[Op]:
    """Returns the ops of a function that are plain matrix products."""
    return {op for op in fn.ops if is_product(op)}


def factors(node: Node) -> tuple[int, int]:
    """Returns the values a and b of a node that computes a @ b."""
    trait = _trait(node.op)
    return node.inputs[trait.a], node.inputs[trait.b]


def with_factors(op: Op, a: int, b: int, total: int | None = None) -> tuple[int, ...]:
    """Puts a and b, and ``total`` if the op accumulates, into the operand slots of a product."""
    trait = _trait(op)
    slots = {trait.a: a, trait.b: b}
    if trait.accumulate is not None:
        assert total is not None
        slots[trait.accumulate] = total
    return tuple(slots[slot] for slot in range(len(op.inputs)))


def _trait(op: Op) -> GemmTrait:
    assert op.gemm is not None, f"{op.name} is not a matrix product"
    return op.gemm
