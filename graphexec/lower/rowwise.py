"""Kernel specs of rowwise nodes: the form of their loops, and the room for the values they keep between sweeps."""

from __future__ import annotations

from math import prod

from graphexec.abi import BLOCK, MAX_SHORT_ROW
from graphexec.codegen import kernels
from graphexec.codegen.cascade import STEPS
from graphexec.codegen.operands import Operand
from graphexec.codegen.row_loops import Form
from graphexec.codegen.rowwise import room_of
from graphexec.codegen.within_row import LANES
from graphexec.codegen.writer import VECTORS
from graphexec.ir.function import Node
from graphexec.ir.fused.row_schedule import RowSchedule
from graphexec.ir.fused.rowwise import RowwiseOp
from graphexec.ir.spec import Size, is_one, itemsize
from graphexec.ir.view import View, collapse
from graphexec.lower.body_calls import typed_body
from graphexec.lower.kernel_args import ArgumentBlock, KernelSpec, movement, operand_slots, vectors_for
from graphexec.lower.layout import Layout, row_schedule, row_views

MIN_ROWS_ACROSS = 8
"""With fewer declared rows, there are too few to fill the lanes with one row each."""


def rowwise_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    """Loops over rows and along each row, or the other way round if the lanes are rows."""
    op = node.op
    assert isinstance(op, RowwiseOp)
    shape, views = row_views(layout, node)
    schedule = row_schedule(layout, node)
    outer, moves = collapse(shape[:-1], [v.strides[:-1] for v in views])
    across = _is_across(shape, views)
    n, steps = int(shape[-1]), [v.strides[-1] for v in views]
    sizes = [*outer[:-1], n, outer[-1]] if across else [*outer, n]
    strides = [[*m[:-1], s, m[-1]] if across else [*m, s] for m, s in zip(moves, steps, strict=True)]
    values = [*node.inputs, *node.outputs]
    operands = [Operand(layout.specs[v].dtype, movement(s[-1])) for v, s in zip(values, strides, strict=True)]
    body = typed_body(op, node.attributes, [layout.specs[v] for v in node.inputs])
    loads, results = operands[: len(node.inputs)], zip(operands[len(node.inputs) :], op.results, strict=True)
    stores = tuple((o, r.source, r.form != "full") for o, r in results)
    long = isinstance(shape[-1], Size) or n > STEPS * (1 if across else LANES)
    form = Form(across=True) if across else _along(shape, max(itemsize(o.dtype) for o in operands))
    form = form._replace(long=long)
    kernel = kernels.rowwise_kernel(body.calls, tuple(loads), stores, body.dtypes, schedule, len(sizes), form)
    block = ArgumentBlock(sizes)
    slots = operand_slots(range(len(node.inputs)), range(len(node.outputs)))
    for operand, move, slot in zip(operands, strides, slots, strict=True):
        block.operand(slot, [m * itemsize(operand.dtype) for m in move], operand)
    block.numbers(body.numbers, body.dtypes)
    if schedule.kept:
        _add_room(block, schedule, n, across=across)
    moved = sum(itemsize(o.dtype) for o in operands)
    partitions = block.partitions(-1, BLOCK) if across and len(sizes) == 2 else block.partitions(0, 1)
    return block.spec(kernel, prod(shape) * (0.3 * len(body.calls) + 0.05 * moved), units=sizes[0], partitions=partitions)


def _add_room(block: ArgumentBlock, schedule: RowSchedule, n: int, *, across: bool) -> None:
    """Scratch memory for the values of a row that one sweep computes and a later one reads."""
    each, together = room_of(len(schedule.kept), n, across)
    block.scratch(together)
    block.words += [each, together]


def _is_across(shape: tuple[int, ...], views: list[View]) -> bool:
    """Whether the lanes are rows: they are declared short, or neighbours across rows are nearer in memory than along a row."""
    rows, n = shape[:-1], shape[-1]
    many = any(isinstance(r, Size) for r in rows) or prod(rows) >= MIN_ROWS_ACROSS
    if many and not isinstance(n, Size) and n <= MAX_SHORT_ROW:
        return True
    moving = [v for v in views if v.strides[-1] != 0 and not is_one(v.shape[-2])]
    return bool(moving) and all(0 < abs(v.strides[-2]) < abs(v.strides[-1]) for v in moving)


def _along(shape: tuple[int, ...], item: int) -> Form:
    """The loops along a row; if its size is declared, only those that this size needs."""
    n = shape[-1]
    if isinstance(n, Size):
        return Form()
    if n % LANES == 0 and n > 0:
        return Form(rest=False, vectors=VECTORS)
    return Form(whole=n > 2 * LANES, vectors=min(vectors_for(shape, [1, n], item), 2))
