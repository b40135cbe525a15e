"""How much work an array kernel does."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphexec.ir.function import Node
from graphexec.ir.fused.gemm_epilogue import GemmEpilogueOp
from graphexec.ir.kernel_op import KernelOp
from graphexec.lower.layout import Layout


def array_kernel_nanoseconds(layout: Layout, op: KernelOp, values: Sequence[int]) -> float:
    """An estimate from the axes in the op's signature, or from its bytes if it has no signature."""
    moved = sum(layout.specs[v].nbytes for v in values)
    if op.core is None:
        return 0.5 * moved
    operations = _operations(layout, op, values)
    return max(operations / 75 if op.scratch else operations, 0.03 * moved)  # kernels with scratch are matrix products


def multiplications(layout: Layout, node: Node) -> int:
    """m n k of a matrix product, over all batches; 0 for other nodes."""
    op, values = node.op, [*node.inputs, *node.outputs]
    if isinstance(op, GemmEpilogueOp):
        op, values = op.product, [*node.inputs[:2], node.outputs[-1]]
    if not isinstance(op, KernelOp) or op.core is None or not op.scratch:
        return 0
    return _operations(layout, op, values)


def _operations(layout: Layout, op: KernelOp, values: Sequence[int]) -> int:
    """The product of the sizes of all axes in the signature, times the batch axes."""
    assert op.core is not None
    specs = [layout.specs[v] for v in values]
    sizes: dict[str, int] = {}
    for axes, spec in zip(op.core, specs, strict=False):
        sizes.update(zip(axes[::-1], map(int, spec.shape[::-1]), strict=False))
    batch = specs[-1].shape[: specs[-1].ndim - len(op.core[-1])]
    return prod(sizes.values()) * prod(int(n) for n in batch)
