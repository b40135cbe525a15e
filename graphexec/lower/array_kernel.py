"""Templates of array kernels, and how much work they are."""

from __future__ import annotations

from collections.abc import Sequence

from graphexec.codegen import kernels
from graphexec.codegen.array_kernel import Array
from graphexec.gemm.partition import most_pieces_by_rows, panels
from graphexec.ir.function import ABSENT, Node
from graphexec.ir.fused.gemm_epilogue import GemmEpilogueOp
from graphexec.ir.op_kinds import KernelOp
from graphexec.ir.spec import is_one, itemsize
from graphexec.ir.view import View, collapse
from graphexec.lower.kernel_args import MOST_THREADS, ArgumentBlock, Cut, KernelSpec, cut_along, product
from graphexec.lower.layout_assignment import Layout


def array_kernel_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    """The kernel and the record of an array kernel, in loops over batch axes."""
    op = node.op
    assert isinstance(op, KernelOp)
    wanted = [k for k, v in enumerate(node.inputs) if v != ABSENT and (op.variadic or op.inputs[k] not in op.shape_only)]
    who = [(False, k) for k in wanted] + [(True, k) for k in range(len(node.outputs))]
    values = [node.inputs[k] for k in wanted] + list(node.outputs)
    cores = _cores(layout, op, wanted, values)
    batch_shape: tuple[int, ...] = ()
    if op.core is not None:
        out = layout.specs[node.outputs[0]].shape
        batch_shape = out[: len(out) - cores[len(wanted)]]
    lead = [_lead_strides(layout.views[v], c, batch_shape) for v, c in zip(values, cores, strict=True)]
    sizes, moves = collapse(batch_shape, lead) if batch_shape else ([], [[] for _ in values])
    if sizes == [1] and not any(n != 1 for n in batch_shape) and all(is_one(n) for n in batch_shape):
        sizes, moves = [], [[] for _ in values]
    dtype = op.promoted([None if v == ABSENT else layout.specs[v] for v in node.inputs])
    constants, numbers, words, lengths = kernels.split_attributes(op, node.attributes, dtype)
    arrays = tuple(Array(layout.specs[v].dtype, c) for v, c in zip(values, cores, strict=True))
    names = [op.inputs[0 if op.variadic else k] for k in wanted] + list(op.outputs)
    strided = tuple(n in op.strided for n in names)
    kernel = kernels.array_kernel(op, constants, dtype, arrays, strided, words, lengths, len(sizes))
    record = ArgumentBlock(sizes)
    cuts: list[Cut | None] = []
    for value, core, move, which in zip(values, cores, moves, who, strict=True):
        view, item = layout.views[value], itemsize(layout.specs[value].dtype)
        if sizes:
            cuts.append(_batch_cut(view, core, sizes, move, item, shared=op.parallel))
        record.address(which)
        record.words += [int(m) * item for m in move]
        shape, strides = view.shape[view.ndim - core :], view.strides[view.ndim - core :]
        if View(shape, strides).is_contiguous:
            strides = View.contiguous(shape).strides  # an axis of size 1 may carry any stride
        record.words += [int(n) for n in shape] + [int(s) * item for s in strides]
    record.numbers(numbers, words)
    if op.scratch:
        record.address((False, -1), op.scratch)
        cuts += [None] * len(sizes[:1])
    work, kind = _work(layout, op, values), 0
    units = sizes[0] if sizes else max([1, *map(int, layout.specs[node.outputs[0]].shape[:1])])  # such kernels cut by items
    if not sizes and op.name in PRODUCTS:
        views, factors = [_last_two(layout.views[v]) for v in values], PRODUCTS[op.name]
        cuts = [*_row_cuts(views, dtype, factors), None]
        a, b = (views[k] for k in factors)
        kind, units = panels(dtype, *map(int, a.strides), *map(int, b.strides), *map(int, (*a.shape[:1], *b.shape[::-1])))
    return record.template(kernel, work, shareable=op.parallel or bool(sizes), units=units, cuts=tuple(cuts), kind=kind)


PRODUCTS = {"matmul": (0, 1), "matmul_add": (1, 2)}
"""Ops that are one call of `plugin.gemm`, and which of their operands are its factors; the others lie like the product."""


def _last_two(view: View) -> View:
    """A matrix of which leading axes of size 1 are left out."""
    return View(view.shape[-2:], view.strides[-2:])


def _batch_cut(view: View, core: int, sizes: Sequence[int], moves: Sequence[int], item: int, *, shared: bool) -> Cut | None:
    """An operand of a kernel that threads call for different indices of its first batch axis."""
    lead = view.ndim - core
    inner = [(int(n), int(s)) for n, s in zip(view.shape[lead:], view.strides[lead:], strict=True)]
    axes = [*zip(sizes, moves, strict=True), *inner]
    threads = sizes[0] if shared else MOST_THREADS  # beyond, a shared kernel is called for all, and cuts its own work
    return cut_along([n for n, _ in axes], [int(m) * item for _, m in axes], 0, threads=threads)


def _row_cuts(views: Sequence[View], dtype: str, factors: tuple[int, int]) -> list[Cut | None]:
    """The operands of a matrix product where threads do rows of it; then the second factor is read by all."""
    a, b = (views[k] for k in factors)
    (m, k), n, item = (int(x) for x in a.shape), int(b.shape[1]), itemsize(dtype)
    threads = most_pieces_by_rows(dtype, int(a.strides[1]), int(b.strides[1]), m, n, k)
    if threads < 2:
        return [None] * len(views)
    return [
        None if at == factors[1] else cut_along([int(x) for x in v.shape], [int(s) * item for s in v.strides], 0, threads=threads)
        for at, v in enumerate(views)
    ]  # fmt: skip


def _work(layout: Layout, op: KernelOp, values: Sequence[int]) -> float:
    """Nanoseconds that an array kernel may take: by its signature's axes, at a few operations a cycle, or by its elements."""
    moved = sum(layout.specs[v].nbytes for v in values)
    if op.core is None:
        return 0.5 * moved
    operations = _operations(layout, op, values)
    return max(operations / 75 if op.scratch else operations, 0.03 * moved)  # kernels with scratch are matrix products


def _operations(layout: Layout, op: KernelOp, values: Sequence[int]) -> int:
    """The product of the sizes of all axes that a signature names, times the batch axes."""
    assert op.core is not None
    specs = [layout.specs[v] for v in values]
    letters = {
        letter: n for axes, s in zip(op.core, specs, strict=False) for letter, n in zip(axes[::-1], s.shape[::-1], strict=False)
    }
    return product(letters.values()) * product(specs[-1].shape[: specs[-1].ndim - len(op.core[-1])])


def multiplications(layout: Layout, node: Node) -> int:
    """m n k of a matrix product, over all batches; 0 for other nodes."""
    op, values = node.op, [*node.inputs, *node.outputs]
    if isinstance(op, GemmEpilogueOp):
        op, values = op.product, [*node.inputs[:2], node.outputs[-1]]
    if not isinstance(op, KernelOp) or op.core is None or not op.scratch:
        return 0
    return _operations(layout, op, values)


def _cores(layout: Layout, op: KernelOp, wanted: Sequence[int], values: Sequence[int]) -> list[int]:
    if op.core is None:
        return [layout.views[v].ndim for v in values]
    picked = [op.core[k] for k in wanted] + list(op.core[len(op.inputs) :])
    return [len(c) for c in picked]


def _lead_strides(view: View, core: int, batch: tuple[int, ...]) -> list[int]:
    lead = View(view.shape[: view.ndim - core], view.strides[: view.ndim - core])
    return list(lead.broadcast(batch).strides)

