"""Kernel specs of one update rule on several parameters; `graphexec.codegen.horizontal` describes the argument block."""

from __future__ import annotations

from graphexec.codegen import kernels
from graphexec.codegen.operands import SAME, UNIT, Operand
from graphexec.errors import GraphError
from graphexec.ir.function import Node
from graphexec.ir.fused.horizontal import HorizontalOp
from graphexec.ir.fused.scalar import ScalarRef
from graphexec.lower.body_calls import typed_body
from graphexec.lower.kernel_args import ArgumentBlock, KernelSpec, OperandSlot
from graphexec.lower.layout import Layout


def horizontal_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    """A loop over the members, whose operands are all contiguous."""
    op = node.op
    assert isinstance(op, HorizontalOp)
    rule, results = op.rule, len(op.rule.outputs)
    inputs, outputs = op.member(node.inputs, 0), node.outputs[:results]
    body = typed_body(rule, node.attributes, [layout.specs[v] for v in inputs])
    moves = [SAME if name == rule.shared_operand else UNIT for name in rule.inputs]
    loads = [Operand(layout.specs[v].dtype, m) for v, m in zip(inputs, moves, strict=True)]
    stores = [(Operand(layout.specs[v].dtype, UNIT), ScalarRef("call", 0, k)) for k, v in enumerate(outputs)]
    kernel = kernels.horizontal_kernel(body.calls, tuple(loads), tuple(stores), body.dtypes)
    block = ArgumentBlock([op.members])
    if rule.shared_operand is not None:
        block.address(OperandSlot(False, len(node.inputs) - 1))
    block.numbers(body.numbers, body.dtypes)
    total = 0
    for m in range(op.members):
        values = (*node.inputs[m * op.own : (m + 1) * op.own], *node.outputs[m * results : (m + 1) * results])
        if not all(layout.views[v].is_contiguous for v in values):
            raise GraphError("an operand of updates that run together is not contiguous", node=node.name, op=op.name)
        size = int(layout.specs[values[0]].size)
        block.words.append(size)
        for k in range(op.own):
            block.address(OperandSlot(False, m * op.own + k))
        for k in range(results):
            block.address(OperandSlot(True, m * results + k))
        total += size
    return block.spec(kernel, float(total), shareable=False)
