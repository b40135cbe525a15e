"""Kernel specs of reductions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from graphexec.abi import BLOCK, MAX_SHORT_ROW
from graphexec.codegen import kernels
from graphexec.codegen.cascade import STEPS
from graphexec.codegen.operands import Operand
from graphexec.ir.function import ABSENT, Node
from graphexec.ir.fused.scalar import ScalarRef
from graphexec.ir.op_kinds import ReductionOp
from graphexec.ir.spec import Size, is_one, itemsize
from graphexec.ir.view import View
from graphexec.llvm import toolchain
from graphexec.lower.kernel_args import ArgumentBlock, KernelSpec, OperandSlot, movement
from graphexec.lower.layout import Layout

FIXED_ROW_SIZES = (8, 16, 32)
"""Sizes of a short row whose elements can be lanes, combined pairwise in registers: with 32-byte vectors, at most one vector."""


class _Axis(NamedTuple):
    """An axis of the loop nest, with its strides in elements."""

    size: int
    x: int
    out: int


class _Nest(NamedTuple):
    """The loops of a reduction, outermost first."""

    axes: list[_Axis]
    kept: int
    reduced: int
    along: bool
    """The innermost loop reduces: the lanes are elements of a row. Otherwise the lanes are rows."""
    fixed_row_size: int
    """The declared size of rows that are reduced in registers, or 0."""
    long: bool
    """Whether a lane may combine more than STEPS elements: many, or a number that is not declared."""


def reduction_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    """Loops over the kept axes and the reduced axes; the innermost one is that with the smallest stride."""
    op, source, result = node.op, node.inputs[0], node.outputs[0]
    assert isinstance(op, ReductionOp)
    axes = op.axes([None if v == ABSENT else layout.specs[v] for v in node.inputs], node.attributes)
    nest = _nest(layout.views[source], layout.views[result], axes, itemsize(layout.specs[result].dtype))
    dtype, inner = layout.specs[result].dtype, nest.axes[-1]
    load = Operand(layout.specs[source].dtype, movement(inner.x))
    store = Operand(dtype, movement(inner.out))
    kernel = kernels.reduction_kernel(
        op, (), (load,), ScalarRef("operand", 0), (), store, dtype, nest.kept, nest.reduced, nest.along, nest.fixed_row_size,
        nest.long,
    )  # fmt: skip
    block = ArgumentBlock(axis.size for axis in nest.axes)
    block.operand(OperandSlot(False, 0), [axis.x * itemsize(load.dtype) for axis in nest.axes], load)
    block.operand(OperandSlot(True, 0), [axis.out * itemsize(dtype) for axis in nest.axes], store)
    units = nest.axes[0].size if nest.kept else inner.size / BLOCK
    work, partitions = prod(axis.size for axis in nest.axes) * 0.2, block.partitions(0, 1) if nest.kept else ()
    shareable = not nest.along or nest.kept > 0
    return block.spec(kernel, work, shareable=shareable, units=units, partitions=partitions)


def _nest(x: View, out: View, axes: Sequence[int], item: int) -> _Nest:
    kept, reduced = _reduction_axes(x, out, axes, keepdims=len(out.shape) == len(x.shape))
    along = not kept or (bool(reduced) and abs(reduced[-1].x) <= abs(kept[-1].x))
    fixed = 0
    declared = not any(isinstance(x.shape[a], Size) for a in axes)
    if along and kept and len(reduced) == 1 and reduced[0].size <= MAX_SHORT_ROW and declared:
        fixed = reduced[0].size if _fits_in_registers(reduced[0], item) else 0
        along = fixed > 0  # rows too short to fill the lanes: the lanes are rows
    steps = prod(axis.size for axis in reduced)
    if not along:
        long = not declared or steps > STEPS
        return _Nest([*kept[:-1], *reduced, kept[-1]], len(kept) - 1, len(reduced), along, fixed, long)
    reduced = reduced or [_Axis(1, 0, 0)]
    long = not declared or steps // max(reduced[-1].size, 1) * -(-reduced[-1].size // BLOCK) > STEPS
    return _Nest([*kept, *reduced], len(kept), len(reduced), along, fixed, long)


def _fits_in_registers(row: _Axis, item: int) -> bool:
    lanes = toolchain.vector_bytes() // item
    return row.x == 1 and row.size in FIXED_ROW_SIZES and (row.size <= lanes or toolchain.vector_bytes() == 64)


def _reduction_axes(x: View, out: View, axes: Sequence[int], *, keepdims: bool) -> tuple[list[_Axis], list[_Axis]]:
    """The kept axes and the reduced axes; adjacent ones that can be walked as one are merged."""
    kept: list[_Axis] = []
    reduced: list[_Axis] = []
    out_axes = iter(range(out.ndim)) if keepdims else iter(range(out.ndim - (x.ndim - len(axes)), out.ndim))
    for axis, n in enumerate(x.shape):
        is_reduced = axis in axes
        out_axis = -1 if is_reduced and not keepdims else next(out_axes)
        if is_one(n):
            continue
        group, move = (reduced, 0) if is_reduced else (kept, out.strides[out_axis])
        stride = x.strides[axis]
        if group and group[-1].x == stride * n and group[-1].out == move * n:
            group[-1] = _Axis(group[-1].size * int(n), stride, move)
        else:
            group.append(_Axis(int(n), stride, move))
    return kept, reduced
