"""Kernel specs of array kernels: the op's function, called in loops over the batch axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphexec.codegen import kernels
from graphexec.codegen.elementwise import Array
from graphexec.codegen.kernels import Kernel
from graphexec.gemm.partition import most_pieces_by_rows, strips
from graphexec.ir.function import ABSENT, Node
from graphexec.ir.op import Attributes
from graphexec.ir.op_kinds import KernelOp
from graphexec.ir.spec import is_one, itemsize
from graphexec.ir.view import View, collapse
from graphexec.lower.cost import array_kernel_nanoseconds
from graphexec.lower.kernel_args import ArgumentBlock, KernelSpec, operand_slots
from graphexec.lower.layout_assignment import Layout
from graphexec.lower.partition import UNLIMITED_THREADS, Partition, partition_along


class ArrayCall(NamedTuple):
    """An array kernel, its arguments, and how its work can be divided; `ArgumentBlock.spec` explains the last five."""

    kernel: Kernel
    block: ArgumentBlock
    work: float
    shareable: bool
    units: int
    partitions: tuple[Partition | None, ...]
    split_axis: int

    def spec(self) -> KernelSpec:
        return self.block.spec(
            self.kernel, self.work, shareable=self.shareable, units=self.units, partitions=self.partitions,
            split_axis=self.split_axis,
        )  # fmt: skip


class _Batch(NamedTuple):
    """The loops around a kernel: their sizes, and for each operand the elements from one index to the next."""

    sizes: list[int]
    moves: list[list[int]]


ATTRIBUTES = "attributes"
"""The field of the first attribute that is data."""


def array_kernel_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    """The kernel and the arguments of an array kernel."""
    assert isinstance(node.op, KernelOp)
    return array_kernel_call(layout, node.op, node.inputs, node.outputs, node.attributes).spec()


def array_kernel_call(
    layout: Layout, op: KernelOp, inputs: Sequence[int], outputs: Sequence[int], attributes: Attributes
) -> ArrayCall:
    """An op on values: absent operands and those of which only the shape is used are left out."""
    passed = [k for k, v in enumerate(inputs) if v != ABSENT and (op.variadic or op.inputs[k] not in op.shape_only)]
    values = [*(inputs[k] for k in passed), *outputs]
    views, specs = [layout.views[v] for v in values], [layout.specs[v] for v in values]
    cores = _core_ranks(layout, op, passed, values)
    batch_rank = len(specs[len(passed)].shape) - cores[len(passed)]
    batch = _batch(views, cores, () if op.core is None else specs[len(passed)].shape[:batch_rank])
    dtype = op.promoted([None if v == ABSENT else layout.specs[v] for v in inputs])
    constants, numbers, dtypes, lengths = kernels.split_attributes(op, attributes, dtype)
    arrays = tuple(Array(spec.dtype, core) for spec, core in zip(specs, cores, strict=True))
    names = [op.inputs[0 if op.variadic else k] for k in passed] + list(op.outputs)
    strided = tuple(name in op.strided for name in names)
    kernel = kernels.array_kernel(op, constants, dtype, arrays, strided, dtypes, lengths, len(batch.sizes))
    block = ArgumentBlock(batch.sizes)
    partitions: list[Partition | None] = []
    for slot, view, array, moves in zip(operand_slots(passed, range(len(outputs))), views, arrays, batch.moves, strict=True):
        item = itemsize(array.dtype)
        if batch.sizes:
            partitions.append(_batch_partition(view, array.ndim, batch.sizes, moves, item, shared=op.parallel))
        block.address(slot)
        block.words += [int(m) * item for m in moves]
        block.words += _shape_and_strides(view, array.ndim, item)
    block.mark(ATTRIBUTES)
    block.numbers(numbers, dtypes)
    if op.scratch:
        block.scratch(op.scratch)
        partitions += [None] * len(batch.sizes[:1])
    split_axis, units = 0, batch.sizes[0] if batch.sizes else max([1, *map(int, specs[len(passed)].shape[:1])])
    if not batch.sizes and op.gemm is not None:
        matrices, factors = [_matrix(view) for view in views], (op.gemm.a, op.gemm.b)
        partitions = [*_row_partitions(matrices, dtype, factors), None]
        split_axis, units = _strips(matrices[op.gemm.a], matrices[op.gemm.b], dtype)
    work, shareable = array_kernel_nanoseconds(layout, op, values), op.parallel or bool(batch.sizes)
    return ArrayCall(kernel, block, work, shareable, units, tuple(partitions), split_axis)


def _core_ranks(layout: Layout, op: KernelOp, passed: Sequence[int], values: Sequence[int]) -> list[int]:
    """The number of axes of each operand that the kernel itself handles: those in its signature, or all."""
    if op.core is None:
        return [layout.views[v].ndim for v in values]
    return [len(op.core[k]) for k in passed] + [len(axes) for axes in op.core[len(op.inputs) :]]


def _batch(views: Sequence[View], cores: Sequence[int], shape: tuple[int, ...]) -> _Batch:
    """The loops over batch axes, merged where possible; none if all batch axes are declared to have size 1."""
    if all(is_one(n) for n in shape):
        return _Batch([], [[] for _ in views])
    return _Batch(*collapse(shape, [_lead_strides(view, core, shape) for view, core in zip(views, cores, strict=True)]))


def _lead_strides(view: View, core: int, batch: tuple[int, ...]) -> list[int]:
    lead = View(view.shape[: view.ndim - core], view.strides[: view.ndim - core])
    return list(lead.broadcast(batch).strides)


def _shape_and_strides(view: View, core: int, item: int) -> list[int]:
    """The sizes and the strides in bytes of the axes that the kernel handles."""
    shape, strides = view.shape[view.ndim - core :], view.strides[view.ndim - core :]
    if View(shape, strides).is_contiguous:
        strides = View.contiguous(shape).strides  # an axis of size 1 may carry any stride
    return [int(n) for n in shape] + [int(s) * item for s in strides]


def _batch_partition(
    view: View, core: int, sizes: Sequence[int], moves: Sequence[int], item: int, *, shared: bool
) -> Partition | None:
    """The partition of an operand when threads call the kernel for different indices of the first batch axis."""
    lead = view.ndim - core
    inner = [(int(n), int(s)) for n, s in zip(view.shape[lead:], view.strides[lead:], strict=True)]
    axes = [*zip(sizes, moves, strict=True), *inner]
    threads = sizes[0] if shared else UNLIMITED_THREADS  # with more threads, all call a parallel kernel for every index
    return partition_along([n for n, _ in axes], [int(m) * item for _, m in axes], 0, threads=threads)


def _matrix(view: View) -> View:
    """The last two axes; all others have size 1."""
    return View(view.shape[-2:], view.strides[-2:])


def _strips(a: View, b: View, dtype: str) -> tuple[int, int]:
    """The axis along which a product is cut into strips, and their number."""
    (rsa, csa), (rsb, csb) = map(int, a.strides), map(int, b.strides)
    return strips(dtype, rsa, csa, rsb, csb, m=int(a.shape[0]), n=int(b.shape[1]), k=int(a.shape[1]))


def _row_partitions(views: Sequence[View], dtype: str, factors: tuple[int, int]) -> list[Partition | None]:
    """The partitions of a product's operands when threads compute rows of it; every thread reads all of the second factor."""
    a, b = (views[k] for k in factors)
    (m, k), n, item = (int(x) for x in a.shape), int(b.shape[1]), itemsize(dtype)
    threads = most_pieces_by_rows(dtype, int(a.strides[1]), int(b.strides[1]), m, n, k)
    if threads < 2:
        return [None] * len(views)
    return [
        None
        if at == factors[1]
        else partition_along([int(x) for x in v.shape], [int(s) * item for s in v.strides], 0, threads=threads)
        for at, v in enumerate(views)
    ]
