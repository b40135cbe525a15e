"""Kernel specs of a matrix product with an epilogue: the product's argument block, followed by the epilogue's.

The product's block holds the address of the words that describe the epilogue to the blocked product: the elementwise kernel,
its argument block, and for each of its operands the position of the address and the strides of its rows and columns.
"""

from __future__ import annotations

from typing import NamedTuple

from graphexec.codegen import kernels
from graphexec.codegen.kernels import Kernel
from graphexec.codegen.operands import SAME, UNIT, Operand
from graphexec.ir.function import Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.gemm_epilogue import GemmEpilogueOp, with_epilogue
from graphexec.ir.fused.scalar import ScalarRef
from graphexec.ir.spec import itemsize
from graphexec.lower.array_kernel import ATTRIBUTES, array_kernel_call
from graphexec.lower.body_calls import typed_body
from graphexec.lower.kernel_args import ArgumentBlock, KernelSpec, OperandSlot, movement, vectors_for
from graphexec.lower.layout import Layout
from graphexec.lower.partition import Partition, partition_along


class _Pointer(NamedTuple):
    """A word of the epilogue's block that holds an operand's address; bytes from one row and one column to the next."""

    word: int
    rows: int
    columns: int


class _Epilogue(NamedTuple):
    kernel: Kernel
    block: ArgumentBlock
    pointers: list[_Pointer]


def gemm_epilogue_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    """One instruction: the kernel is the product's, which calls the epilogue on each finished part."""
    op, product = node.op, node.outputs[-1]
    assert isinstance(op, GemmEpilogueOp)
    call = array_kernel_call(layout, with_epilogue(op.product), node.inputs[:2], (product,), {"after": 0})
    epilogue = _epilogue(layout, node, op, read)
    block = call.block
    product_slot = block.operands.index(OperandSlot(True, 0))
    block.operands[product_slot] = OperandSlot(True, len(node.outputs) - 1)
    block.mark("epilogue")
    block.words.append(epilogue.kernel.address)
    block.mark("epilogue's arguments")
    pointers = [word for pointer in epilogue.pointers for word in pointer]
    block.words += [0, len(epilogue.block.words), len(epilogue.pointers), 0, *pointers]
    block.mark("epilogue's block")
    block.append(epilogue.block)
    block.link(ATTRIBUTES, "epilogue")  # the only attribute of such a product is this address
    block.link("epilogue's arguments", "epilogue's block")
    spec = call._replace(partitions=_partitions(call.partitions, epilogue.block)).spec()
    return spec._replace(work=call.work + 0.1 * layout.specs[product].size)


def _partitions(product: tuple[Partition | None, ...], epilogue: ArgumentBlock) -> tuple[Partition | None, ...]:
    """The product's rows, and the same rows of the epilogue's operands."""
    if not any(product):
        return ()
    threads = min(partition.threads for partition in product if partition)
    return (*product, *(partition_along(epilogue.sizes, moves, 0, threads=threads) for moves in epilogue.moves))


def _epilogue(layout: Layout, node: Node, op: GemmEpilogueOp, read: set[int]) -> _Epilogue:
    """The elementwise kernel over rows and columns of the product."""
    epilogue, product = op.epilogue, node.outputs[-1]
    inputs, outputs = op.epilogue_inputs(node.inputs, product), node.outputs[:-1]
    stored = [k for k, v in enumerate(outputs) if len(outputs) == 1 or v in read or k < len(op.updates)]
    values = [*inputs, *(outputs[k] for k in stored)]
    shape = layout.specs[product].shape
    views = [layout.views[v].broadcast(shape) for v in values]
    operands = [Operand(layout.specs[v].dtype, movement(w.strides[-1])) for v, w in zip(values, views, strict=True)]
    body = typed_body(epilogue, op.epilogue_attributes, [layout.specs[v] for v in inputs])
    sources = [epilogue.results[k] if isinstance(epilogue, FusedOp) else ScalarRef("call", 0, k) for k in stored]
    loads, stores = operands[: len(inputs)], operands[len(inputs) :]
    kernel = kernels.elementwise_kernel(
        body.calls, tuple(loads), tuple(zip(stores, sources, strict=True)), body.dtypes, 2, (),
        vectors_for(shape, shape, max(itemsize(o.dtype) for o in operands)),
    )  # fmt: skip
    others = [OperandSlot(False, k + 2) for k in range(len(inputs) - 1)]
    loaded = [*others[: op.slot], OperandSlot(True, len(outputs)), *others[op.slot :]]
    slots = [*loaded, *(OperandSlot(True, k) for k in stored)]
    block, pointers = ArgumentBlock(shape), []
    for operand, view, slot in zip(operands, views, slots, strict=True):
        item = itemsize(operand.dtype)
        rows, columns = (int(s) * item for s in view.strides)
        step = 0 if operand.inner == SAME else item if operand.inner == UNIT else columns
        pointers.append(_Pointer(len(block.words), rows, step))
        block.operand(slot, [rows, columns], operand)
    block.numbers(body.numbers, body.dtypes)
    return _Epilogue(kernel, block, pointers)
