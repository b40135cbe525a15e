"""The template of one update rule on several parameters; see `codegen_multi_tensor` for its record."""

from __future__ import annotations

from graphexec.codegen import kernels
from graphexec.codegen.elementwise import SAME, UNIT, Operand
from graphexec.ir.function import Node
from graphexec.ir.fused.horizontal import HorizontalOp
from graphexec.ir.fused.scalar import ScalarRef
from graphexec.lower.kernel_args import ArgumentBlock, KernelSpec, calls_of
from graphexec.lower.layout_assignment import Layout


def horizontal_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    op = node.op
    assert isinstance(op, HorizontalOp)
    rule, results = op.rule, len(op.rule.outputs)
    first = Node(node.name, rule, tuple(op.member(node.inputs, 0)), node.outputs[:results], node.attributes)
    calls, numbers, words = calls_of(layout, first, rule)
    moves = [SAME if name == rule.shared_operand else UNIT for name in rule.inputs]
    loads = [Operand(layout.specs[v].dtype, m) for v, m in zip(first.inputs, moves, strict=True)]
    stores = [(Operand(layout.specs[v].dtype, UNIT), ScalarRef("call", 0, k)) for k, v in enumerate(first.outputs)]
    kernel = kernels.horizontal_kernel(calls, tuple(loads), tuple(stores), words)
    record = ArgumentBlock([op.members])
    if rule.shared_operand is not None:
        record.address((False, len(node.inputs) - 1))
    record.numbers(numbers, words)
    total = 0
    for m in range(op.members):
        values = (*node.inputs[m * op.own : (m + 1) * op.own], *node.outputs[m * results : (m + 1) * results])
        assert all(layout.views[v].is_contiguous for v in values), node.name
        size = int(layout.specs[values[0]].size)
        record.words.append(size)
        for k in range(op.own):
            record.address((False, m * op.own + k))
        for k in range(results):
            record.address((True, m * results + k))
        total += size
    return record.template(kernel, float(total), shareable=False)
