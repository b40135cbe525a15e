"""Kernel specs of array kernels: the op's function, called in loops over the batch axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphexec.codegen import kernels
from graphexec.codegen.array_kernel import Array
from graphexec.codegen.kernels import Kernel
from graphexec.gemm.partition import most_pieces_by_rows, panels
from graphexec.ir.function import ABSENT, Node
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Attributes, GemmTrait
from graphexec.ir.spec import is_one, itemsize
from graphexec.ir.view import View, collapse
from graphexec.lower.cost import array_kernel_nanoseconds
from graphexec.lower.kernel_args import ArgumentBlock, KernelSpec, OperandSlot, operand_slots
from graphexec.lower.layout import Layout
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
    out, out_core = specs[len(passed)].shape, cores[len(passed)]
    batch = _batch(views, cores, () if op.core is None else out[: len(out) - out_core])
    dtype = op.promoted([None if v == ABSENT else layout.specs[v] for v in inputs])
    constants, numbers, dtypes, lengths = kernels.split_attributes(op, attributes, dtype)
    arrays = tuple(Array(spec.dtype, core) for spec, core in zip(specs, cores, strict=True))
    names = [op.inputs[0 if op.variadic else k] for k in passed] + list(op.outputs)
    strided = tuple(name in op.strided for name in names)
    kernel = kernels.array_kernel(op, constants, dtype, arrays, strided, dtypes, lengths, len(batch.sizes), layout.checked)
    block = ArgumentBlock(batch.sizes)
    for slot, view, array, moves in zip(operand_slots(passed, range(len(outputs))), views, arrays, batch.moves, strict=True):
        _add_array(block, slot, view, array, moves)
    block.mark(ATTRIBUTES)
    block.numbers(numbers, dtypes)
    if op.scratch:
        block.scratch(op.scratch)
    if batch.sizes:
        split_axis, units, partitions = 0, batch.sizes[0], _batch_partitions(op, views, arrays, batch)
    elif op.gemm is not None:
        split_axis, units, partitions = _gemm_partitions(op.gemm, [_matrix(view) for view in views], dtype)
    else:
        split_axis, units, partitions = 0, max([1, *map(int, out[:1])]), []  # such kernels divide the first axis
    if partitions and op.scratch:
        partitions.append(None)
    work, shareable = array_kernel_nanoseconds(layout, op, values), op.parallel or bool(batch.sizes)
    return ArrayCall(kernel, block, work, shareable, units, tuple(partitions), split_axis)


def _add_array(block: ArgumentBlock, slot: OperandSlot, view: View, array: Array, moves: Sequence[int]) -> None:
    """Adds an operand's address, its strides along the batch axes, and the sizes and strides that the kernel sees."""
    item, lead = itemsize(array.dtype), view.ndim - array.ndim
    block.address(slot)
    block.words += [int(m) * item for m in moves]
    shape, strides = view.shape[lead:], view.strides[lead:]
    if View(shape, strides).is_contiguous:
        strides = View.contiguous(shape).strides  # an axis of size 1 may carry any stride
    block.words += [int(n) for n in shape] + [int(s) * item for s in strides]


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


def _batch_partitions(op: KernelOp, views: Sequence[View], arrays: Sequence[Array], batch: _Batch) -> list[Partition | None]:
    """The partitions of operands when threads call the kernel for different indices of the first batch axis.

    With more threads than indices, all threads call a parallel kernel for every index, so that nothing is known.
    """
    threads = batch.sizes[0] if op.parallel else UNLIMITED_THREADS
    found = []
    for view, array, moves in zip(views, arrays, batch.moves, strict=True):
        lead, item = view.ndim - array.ndim, itemsize(array.dtype)
        sizes = [*batch.sizes, *map(int, view.shape[lead:])]
        strides = [int(s) * item for s in (*moves, *view.strides[lead:])]
        found.append(partition_along(sizes, strides, 0, threads=threads))
    return found


def _matrix(view: View) -> View:
    """The last two axes; all others have size 1."""
    return View(view.shape[-2:], view.strides[-2:])


def _gemm_partitions(gemm: GemmTrait, matrices: Sequence[View], dtype: str) -> tuple[int, int, list[Partition | None]]:
    """The axis along which a product is cut into strips, their number, and the partitions of its operands.

    Partitions are known if each thread computes some rows. Then every thread reads all of the second factor.
    """
    a, b = matrices[gemm.a], matrices[gemm.b]
    (rsa, csa), (rsb, csb) = map(int, a.strides), map(int, b.strides)
    m, n, k = int(a.shape[0]), int(b.shape[1]), int(a.shape[1])
    split_axis, units = panels(dtype, rsa, csa, rsb, csb, m, n, k)
    threads, item = most_pieces_by_rows(dtype, csa, csb, m, n, k), itemsize(dtype)
    partitions: list[Partition | None] = [None] * len(matrices)
    if threads >= 2:
        for at, matrix in enumerate(matrices):
            if at != gemm.b:
                sizes, strides = [int(x) for x in matrix.shape], [int(s) * item for s in matrix.strides]
                partitions[at] = partition_along(sizes, strides, 0, threads=threads)
    return split_axis, units, partitions
