"""The template of a kernel over rows: in which form its loops go, and the room for what it keeps."""

from __future__ import annotations

from graphexec.abi import BLOCK, SHORT_ROW
from graphexec.codegen import kernels
from graphexec.codegen.elementwise import VECTORS, Operand
from graphexec.codegen.rowwise import LANES, Form, room_of
from graphexec.ir.function import Node
from graphexec.ir.fused.row_schedule import RowSchedule
from graphexec.ir.fused.rowwise import RowwiseOp
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.op_kinds import ReductionOp
from graphexec.ir.spec import Size, is_one, itemsize
from graphexec.ir.view import View, collapse
from graphexec.lower.kernel_args import ArgumentBlock, KernelSpec, movement, product, vectors_for
from graphexec.lower.layout_assignment import Layout

FEW_ROWS = 8
"""Declared rows below which there is nothing to stand side by side."""


def row_views(layout: Layout, node: Node) -> tuple[tuple[int, ...], list[View]]:
    """The shape that a node over rows walks, and its operands and results as views of that shape."""
    op = node.op
    assert isinstance(op, RowwiseOp)
    shape = op.shape_of([layout.specs[v] for v in node.inputs])
    views = []
    for k, value in enumerate((*node.inputs, *node.outputs)):
        view = layout.views[value]
        result = k - len(node.inputs)
        is_flat = k in op.flat if result < 0 else op.results[result].form == "flat"
        views.append((view.insert(view.ndim) if is_flat else view).broadcast(shape))
    return shape, views


def row_schedule(layout: Layout, node: Node) -> RowSchedule:
    """The plan of a node's kernel, which depends on which operands move along a row."""
    op = node.op
    assert isinstance(op, RowwiseOp)
    _, views = row_views(layout, node)
    return op.plan(tuple(v.strides[-1] == 0 for v in views[: len(node.inputs)]))


def rowwise_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    op = node.op
    assert isinstance(op, RowwiseOp)
    shape, views = row_views(layout, node)
    plan = row_schedule(layout, node)
    outer, moves = collapse(shape[:-1], [v.strides[:-1] for v in views])
    across = _is_across(shape, views, plan)
    n, steps = int(shape[-1]), [v.strides[-1] for v in views]
    sizes = [*outer[:-1], n, outer[-1]] if across else [*outer, n]
    strides = [[*m[:-1], s, m[-1]] if across else [*m, s] for m, s in zip(moves, steps, strict=True)]
    values = [*node.inputs, *node.outputs]
    operands = [Operand(layout.specs[v].dtype, movement(s[-1])) for v, s in zip(values, strides, strict=True)]
    calls, numbers, words = _calls(layout, node, op)
    results = zip(operands[len(node.inputs) :], op.results, strict=True)
    stores = tuple((o, r.source, r.form != "full") for o, r in results)
    form = Form(across=True) if across else _along(shape, max(itemsize(o.dtype) for o in operands))
    kernel = kernels.rowwise_kernel(calls, tuple(operands[: len(node.inputs)]), stores, words, plan, len(sizes), form)
    record = ArgumentBlock(sizes)
    who = [(False, k) for k in range(len(node.inputs))] + [(True, k) for k in range(len(node.outputs))]
    for operand, move, which in zip(operands, strides, who, strict=True):
        record.operand(which, [m * itemsize(operand.dtype) for m in move], operand)
    record.numbers(numbers, words)
    if plan.kept:
        each, together = room_of(len(plan.kept), n, across)
        record.address((False, -1), together)
        record.words += [each, together]
    moved = sum(itemsize(o.dtype) for o in operands)
    cuts = record.cut(-1, BLOCK) if across and len(sizes) == 2 else record.cut(0, 1)
    return record.template(kernel, product(shape) * (0.3 * len(calls) + 0.05 * moved), units=sizes[0], cuts=cuts)


def _is_across(shape: tuple[int, ...], views: list[View], plan: RowSchedule) -> bool:
    """Whether rows stand side by side: they are declared short, or elements lie nearer to the next row's than to the next."""
    rows, n = shape[:-1], shape[-1]
    many = any(isinstance(r, Size) for r in rows) or product(rows) >= FEW_ROWS
    if many and not isinstance(n, Size) and n <= SHORT_ROW:
        return True
    moving = [v for v in views if v.strides[-1] != 0 and not is_one(v.shape[-2])]
    return bool(moving) and all(0 < abs(v.strides[-2]) < abs(v.strides[-1]) for v in moving)


def _along(shape: tuple[int, ...], item: int) -> Form:
    """The loops along a row: only those that a declared size needs."""
    n = shape[-1]
    if isinstance(n, Size):
        return Form()
    if n % LANES == 0 and n > 0:
        return Form(rest=False, vectors=VECTORS)
    return Form(whole=n > 2 * LANES, vectors=min(vectors_for(shape, [1, n], item), 2))


def _calls(layout: Layout, node: Node, op: RowwiseOp) -> tuple[tuple[BodyCall, ...], list[float], tuple[str, ...]]:
    """What is done to an element or once a row, and the attributes that are numbers with their types."""
    specs = [layout.specs[v] for v in node.inputs]
    known = op.trace(specs)
    calls, all_numbers, all_words = [], [], []  # type: tuple[list[BodyCall], list[float], list[str]]
    for k, call in enumerate(op.calls):
        arguments = list(call.arguments)
        if isinstance(call.op, ReductionOp):
            calls.append(BodyCall(call.op, {}, tuple(arguments), known[k][0].dtype))
            continue
        found = [specs[a.index] if a.kind == "operand" else known[a.index][a.output] for a in call.arguments]
        dtype = call.op.promoted(found)
        constants, numbers, words, _ = kernels.split_attributes(call.op, call.attributes, dtype)
        arguments += [ScalarRef("attribute", len(all_numbers) + j) for j in range(len(numbers))]
        calls.append(BodyCall(call.op, dict(constants), tuple(arguments), dtype, words))
        all_numbers += numbers
        all_words += words
    return tuple(calls), all_numbers, tuple(all_words)
