"""Kernel specs of elementwise nodes, fused ones among them."""

from __future__ import annotations

from math import prod

from graphexec.abi import BLOCK, CHUNK
from graphexec.codegen import kernels
from graphexec.codegen.cascade import STEPS
from graphexec.codegen.kernels import Close
from graphexec.codegen.operands import Operand
from graphexec.ir.function import Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.scalar import ScalarRef
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.spec import Size, itemsize
from graphexec.ir.view import collapse
from graphexec.lower.body_calls import typed_body
from graphexec.lower.kernel_args import ArgumentBlock, KernelSpec, OperandSlot, fixed_size, movement, operand_slots, vectors_for
from graphexec.lower.layout import Layout, iteration


def elementwise_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    """A nest of loops over the collapsed axes; an output that nobody reads is not stored."""
    op = node.op
    assert isinstance(op, ElementwiseOp)
    closings = op.closings if isinstance(op, FusedOp) else ()
    results = node.outputs[: len(node.outputs) - len(closings)]
    stored = [k for k, v in enumerate(results) if len(node.outputs) == 1 or v in read or k < len(op.updates)]
    shape, values = iteration(layout, node, stored)
    sizes, strides = collapse(shape, [layout.views[v].broadcast(shape).strides for v in values])
    operands = [Operand(layout.specs[v].dtype, movement(s[-1])) for v, s in zip(values, strides, strict=True)]
    body = typed_body(op, node.attributes, [layout.specs[v] for v in node.inputs])
    loads, stores = operands[: len(node.inputs)], operands[len(node.inputs) :]
    sources = [op.results[k] if isinstance(op, FusedOp) else ScalarRef("call", 0, k) for k in stored]
    steps = -(-sizes[-1] // BLOCK) * prod(sizes[1:-1])
    long = steps > STEPS or any(isinstance(n, Size) for n in shape)
    endings = tuple(
        Close(c.op, c.source, layout.specs[v].dtype, long) for c, v in zip(closings, node.outputs[len(results) :], strict=True)
    )
    item = max(itemsize(o.dtype) for o in operands)
    fixed = 0 if endings else fixed_size(shape, sizes, item)
    kernel = kernels.elementwise_kernel(
        body.calls, tuple(loads), tuple(zip(stores, sources, strict=True)), body.dtypes, len(sizes), endings,
        vectors_for(shape, sizes, item), fixed,
    )  # fmt: skip
    block = ArgumentBlock(sizes)
    for operand, moves, slot in zip(operands, strides, operand_slots(range(len(node.inputs)), stored), strict=True):
        block.operand(slot, [m * itemsize(operand.dtype) for m in moves], operand)
    block.numbers(body.numbers, body.dtypes)
    for k in range(len(results), len(node.outputs)):
        block.address(OperandSlot(True, k))
    moved = sum(itemsize(layout.specs[v].dtype) for v in values)
    work = prod(sizes) * (0.3 * len(body.calls) + 0.05 * moved)
    units = sizes[0] / (1 if len(sizes) > 1 else CHUNK if closings else BLOCK)
    partitions = () if fixed or endings else block.partitions(0, 1 if len(sizes) > 1 else BLOCK)
    return block.spec(kernel, work, shareable=not fixed, units=units, partitions=partitions)
