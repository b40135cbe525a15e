"""The template of a product and what follows it: two records one after the other, and between them what links them.

The product's record holds the address of the words that `native.gemm_loops.Loops.then` reads: the elementwise kernel, its
record, and for each operand where its address stands and how far apart its rows and columns are.
"""

from __future__ import annotations

import numpy as np

from graphexec.codegen import kernels
from graphexec.codegen.kernels import Kernel
from graphexec.codegen.operands import SAME, UNIT, Operand
from graphexec.ir.function import Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.gemm_epilogue import GemmEpilogueOp, followed
from graphexec.ir.fused.scalar import ScalarRef
from graphexec.ir.spec import itemsize
from graphexec.lower.array_kernel import array_kernel_spec
from graphexec.lower.kernel_args import ArgumentBlock, Cut, KernelSpec, calls_of, cut_along, movement, vectors_for
from graphexec.lower.layout_assignment import Layout


def gemm_epilogue_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    """One instruction: the kernel is the product's."""
    op = node.op
    assert isinstance(op, GemmEpilogueOp)
    made = node.outputs[-1]
    product = array_kernel_spec(layout, Node(node.name, followed(op.product), node.inputs[:2], (made,), {"after": 0}), read)
    kernel, record, places = _then(layout, node, op, read)
    link = [kernel.address, 0, len(record.words), len(places), 0, *(word for place in places for word in place)]
    first = len(product.words)
    begin = first + len(link)
    after = len(product.words) - 2  # before the scratch
    slots = (*product.slots, *(begin + s for s in record.slots))
    who = [(True, len(node.outputs) - 1) if output else (False, which) for output, which in product.operands]
    words = np.array([*product.words, *link, *record.words], np.int64)
    work = product.work + 0.1 * layout.specs[made].size
    inside = ((after, first), (first + 1, begin))
    cuts: tuple[Cut | None, ...] = ()
    if any(product.cuts):  # rows of the product, and after it the same rows of the others
        threads = min(cut.threads for cut in product.cuts if cut)
        cuts = (*product.cuts, *(cut_along(record.sizes, moves, 0, threads=threads) for moves in record.moves))
    operands = (*who, *record.operands)
    return KernelSpec(product.kernel, words, slots, operands, product.serial, work, inside, product.pieces, cuts, product.kind)


def _then(
    layout: Layout, node: Node, op: GemmEpilogueOp, read: set[int]
) -> tuple[Kernel, ArgumentBlock, list[tuple[int, int, int]]]:
    """The elementwise kernel over rows and columns, its record, and where the addresses stand in it and how they move."""
    then, made = op.then, node.outputs[-1]
    inputs, outputs = op.then_inputs(node.inputs, made), node.outputs[:-1]
    kept = [k for k, v in enumerate(outputs) if len(outputs) == 1 or v in read or k < len(op.updates)]
    values = [*inputs, *(outputs[k] for k in kept)]
    shape = layout.specs[made].shape
    views = [layout.views[v].broadcast(shape) for v in values]
    operands = [Operand(layout.specs[v].dtype, movement(w.strides[-1])) for v, w in zip(values, views, strict=True)]
    calls, numbers, words = calls_of(layout, Node(node.name, then, tuple(inputs), outputs, dict(op.then_attributes)), then)
    sources = [then.results[k] if isinstance(then, FusedOp) else ScalarRef("call", 0, k) for k in kept]
    loads, stores = operands[: len(inputs)], operands[len(inputs) :]
    kernel = kernels.elementwise_kernel(
        calls, tuple(loads), tuple(zip(stores, sources, strict=True)), words, 2, (),
        vectors_for(shape, shape, max(itemsize(o.dtype) for o in operands)),
    )  # fmt: skip
    others = [(False, k + 2) for k in range(len(inputs) - 1)]
    who = [*others[: op.slot], (True, len(outputs)), *others[op.slot :], *((True, k) for k in kept)]
    record, places = ArgumentBlock(shape), []
    for operand, view, which in zip(operands, views, who, strict=True):
        item = itemsize(operand.dtype)
        rows, columns = (int(s) * item for s in view.strides)
        places.append((len(record.words), rows, 0 if operand.inner == SAME else item if operand.inner == UNIT else columns))
        record.operand(which, [rows, columns], operand)
    record.numbers(numbers, words)
    return kernel, record, places
