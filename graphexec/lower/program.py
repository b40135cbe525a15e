"""lower: a planned order becomes a Program: a table of kernels and records, addresses and sizes only.

Nothing in a program points back into Python: an instruction is the address of a kernel and the address of its record.
Nodes of the same op, attributes and layout share a template, and the records of all of them are filled in at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from graphexec.abi import ALIGNMENT, BLOCK, CHUNK, FLAGS, SERIAL, SHORT_ROW, SPLIT
from graphexec.codegen import kernels
from graphexec.codegen.elementwise import Operand
from graphexec.codegen.kernels import Close, Kernel
from graphexec.errors import GraphExecError
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.gemm_epilogue import GemmEpilogueOp
from graphexec.ir.fused.horizontal import HorizontalOp
from graphexec.ir.fused.rowwise import RowwiseOp
from graphexec.ir.fused.scalar import ScalarRef
from graphexec.ir.keys import freeze
from graphexec.ir.op_kinds import ElementwiseOp, KernelOp, ReductionOp
from graphexec.ir.spec import Size, is_one, itemsize, shape_text
from graphexec.ir.view import View, collapse
from graphexec.llvm import toolchain
from graphexec.lower.array_kernel import array_kernel_spec
from graphexec.lower.barriers import place_barriers
from graphexec.lower.buffer_assignment import BufferAssignment, assign_buffers
from graphexec.lower.gemm_epilogue import gemm_epilogue_spec
from graphexec.lower.horizontal import horizontal_spec
from graphexec.lower.kernel_args import ArgumentBlock, KernelSpec, calls_of, few_of, movement, product, vectors_for
from graphexec.lower.layout_assignment import Layout, assign_layout, iteration
from graphexec.lower.rowwise import rowwise_spec

BARRIER_NANOSECONDS = 1_000
"""Nanoseconds that a meeting of all threads costs, with what the others lose while they wait."""


class Instruction(NamedTuple):
    """One line of the listing; what runs is the table."""

    kernel: Kernel
    node: Node
    template: KernelSpec


@dataclass
class Program:
    """A lowered order: ``table`` has a row (kernel, record, flags) for each instruction."""

    fn: Function
    layout: Layout
    memory: BufferAssignment
    instructions: list[Instruction]
    table: np.ndarray
    records: np.ndarray
    arena: np.ndarray
    addresses: np.ndarray
    """Of every storage."""
    buffers: dict[int, np.ndarray] = field(default_factory=dict)
    """Persistent arrays by storage: leaves and planned constants."""
    scratch: np.ndarray | None = None
    parallel: bool = False
    """Whether more than one thread has anything to do."""

    def array(self, value: int) -> np.ndarray:
        """A value's memory as an array, without a copy; meaningful after a run, for values that are kept."""
        storage, view, spec = self.layout.storage[value], self.layout.views[value], self.layout.specs[value]
        base = self.buffers.get(storage)
        if base is None:
            start = self.memory.offsets[storage]
            base = self.arena[start : start + self.layout.bytes[storage]].view(spec.dtype)
        flat = base.reshape(-1)[view.offset :]
        strides = [s * base.itemsize for s in view.strides]
        return np.lib.stride_tricks.as_strided(flat, tuple(int(n) for n in view.shape), strides)

    def listing(self) -> str:
        """The program as numbered text: each kernel with the values it reads and writes, and where they lie."""
        lines = []
        for number, instruction in enumerate(self.instructions):
            node = instruction.node
            outs = ", ".join(self._operand(v) for v in node.outputs)
            ins = ", ".join(self._operand(v) for v in node.reads)
            mark = "" if instruction.template.serial else "  [threads]"
            lines.append(f"{number:4d}  {node.op.name:<18} {outs} <- {ins}{mark}")
        kinds = len({i.kernel.name for i in self.instructions})
        lines.append(
            f"{len(self.instructions)} instructions, {kinds} kernels, arena {self.memory.arena} bytes "
            f"({self.memory.without_reuse} without reuse)"
        )
        return "\n".join(lines)

    def _operand(self, value: int) -> str:
        offset = self.memory.offsets[self.layout.storage[value]]
        place = f"@{offset}" if offset >= 0 else ""
        return f"{self.layout.names[value]}{shape_text(int(n) for n in self.layout.specs[value].shape)}{place}"

    def __str__(self) -> str:
        return self.listing()

    def check(self) -> None:
        """Proves that addresses are inside their buffers and that every operand is written before it is read, and still there.

        *Raises* AssertionError: a failure is a bug of the planner, not of the user's graph.
        """
        owner: dict[int, int] = {}
        for number, instruction in enumerate(self.instructions):
            node = instruction.node
            for value in node.reads:
                self._check_inside(value, number)
                storage = self.layout.storage[value]
                if self.memory.offsets[storage] >= 0:
                    for block in self._blocks(storage):
                        assert owner.get(block) == storage, (
                            f"instruction {number} reads {self.layout.names[value]!r}, which is overwritten"
                        )
            for value in node.outputs:
                self._check_inside(value, number)
                storage = self.layout.storage[value]
                if self.memory.offsets[storage] >= 0:
                    owner.update(dict.fromkeys(self._blocks(storage), storage))

    def _blocks(self, storage: int) -> range:
        start = self.memory.offsets[storage] // ALIGNMENT
        return range(start, start + max(-(-self.layout.bytes[storage] // ALIGNMENT), 1))

    def _check_inside(self, value: int, number: int) -> None:
        view, spec = self.layout.views[value], self.layout.specs[value]
        storage = self.layout.storage[value]
        if spec.size == 0:
            return
        reach = [(n - 1) * s for n, s in zip(view.shape, view.strides, strict=True)]
        low = view.offset + sum(min(r, 0) for r in reach)
        high = view.offset + sum(max(r, 0) for r in reach)
        size = self.layout.bytes[storage] // itemsize(spec.dtype)
        assert 0 <= low <= high < size, f"instruction {number}: {self.layout.names[value]!r} leaves its buffer"
        offset = self.memory.offsets[storage]
        assert offset < 0 or offset + self.layout.bytes[storage] <= self.memory.arena, f"instruction {number} leaves the arena"


def lower(
    fn: Function, buffers: Mapping[str, np.ndarray], keep: Iterable[int] = (), *, threads: int = 1, reuse: bool = True
) -> Program:
    """Lowers an inferred order without composite ops.

    ``buffers`` holds the arrays of its inputs and parameters by name, which stay where they are; values in ``keep``
    can be read after a run. *Raises* PluginError when a kernel does not compile.
    """
    layout = assign_layout(fn)
    memory = assign_buffers(layout, keep, reuse=reuse)
    arena = aligned(memory.arena)
    held = _held(layout, buffers)
    offsets = np.array(memory.offsets or [-1], np.int64)
    addresses = np.where(offsets >= 0, arena.ctypes.data + offsets, 0)
    for storage, array in held.items():
        addresses[storage] = array.ctypes.data
    program = Program(fn, layout, memory, [], np.empty((0, 3), np.int64), np.empty(0, np.int64), arena, addresses, held)
    _fill(program, threads)
    return program


def aligned(nbytes: int) -> np.ndarray:
    """Memory that starts on a cache line, zeroed."""
    raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


def aligned_array(array: np.ndarray) -> np.ndarray:
    """A copy of an array that starts on a cache line, C-contiguous."""
    new = aligned(array.nbytes).view(array.dtype).reshape(array.shape)
    new[...] = array
    return new


def _held(layout: Layout, buffers: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    held = {s: aligned_array(a) for s, a in layout.constants.items()}
    for leaf in layout.fn.leaves:
        if leaf.kind != "constant":
            array = buffers[leaf.name]
            spec = layout.specs[leaf.value_id]
            assert array.flags.c_contiguous, leaf.name
            assert array.shape == spec.shape, leaf.name
            assert array.dtype == spec.dtype, leaf.name
            held[layout.storage[leaf.value_id]] = array
    return held


def _fill(program: Program, threads: int) -> None:
    """Makes the templates, and the records and the table from them."""
    layout = program.layout
    templates: dict[Any, KernelSpec] = {}
    members: dict[int, list[int]] = {}
    chosen: list[KernelSpec] = []
    read, forms = _read_values(program), _forms(layout)
    for position, node in enumerate(layout.steps):
        key = _key(node, forms, read)
        template = templates.get(key)
        if template is None:
            template = templates[key] = _template(layout, node, read)
            members[id(template)] = []
        chosen.append(template)
        members[id(template)].append(position)
    starts = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum([t.words.size for t in chosen], out=starts[1:])
    records = np.zeros(int(starts[-1]) or 1, np.int64)
    table = np.empty((len(chosen), 3), np.int64)
    storage, offsets = np.array(layout.storage or [0]), np.array([v.offset for v in layout.views] or [0], np.int64)
    items = np.array([1 if s is None else itemsize(s.dtype) for s in layout.specs] or [1], np.int64)  # None: pruned
    by_value = program.addresses[storage] + offsets * items
    for template in templates.values():
        flags = SERIAL if template.serial else template.pieces << FLAGS | template.kind * SPLIT
        table[members[id(template)]] = template.kernel.address, 0, flags
    program.parallel = _gains_by_threads(program, chosen, table, threads)
    program.scratch, rooms = _scratch(templates.values(), threads if program.parallel else 1)
    for template in templates.values():
        rows = np.array(members[id(template)])
        at = starts[rows]
        records[at[:, None] + np.arange(template.words.size)] = template.words
        values = np.array([(*layout.steps[r].inputs, *layout.steps[r].outputs) for r in rows])
        inputs = len(layout.steps[rows[0]].inputs)
        for slot, (is_output, which) in zip(template.slots, template.operands, strict=True):
            if which < 0:
                records[at + slot] = rooms[int(template.words[slot])]
                continue
            records[at + slot] = by_value[values[:, inputs + which if is_output else which]]
        for slot, offset in template.inside:
            records[at + slot] = records.ctypes.data + (at + offset) * 8
    table[:, 1] = records.ctypes.data + starts[:-1] * 8
    program.instructions = [Instruction(t.kernel, n, t) for t, n in zip(chosen, layout.steps, strict=True)]
    program.records, program.table = records, table


def _gains_by_threads(program: Program, chosen: Sequence[KernelSpec], table: np.ndarray, threads: int) -> bool:
    """Marks the meetings; whether sharing the work saves more than they cost."""
    if threads == 1 or all(t.serial for t in chosen):
        return False
    meets = place_barriers(program.layout, program.addresses, chosen, table, threads)
    gain = (1 - 1 / threads) * sum(t.work for t in chosen if not t.serial)
    return bool(gain > BARRIER_NANOSECONDS * (meets + 2))


def _scratch(templates: Iterable[KernelSpec], threads: int) -> tuple[np.ndarray | None, dict[int, int]]:
    """Memory that kernels use while they run, and where it begins for those that need so many bytes a thread.

    Thread k has it k times those bytes further. So several threads have it apart by what a kernel needs: they do not meet before
    an instruction only because it works in the scratch of another that some have not finished.
    """
    needs = sorted({int(t.words[s]) for t in templates for s, (_, which) in zip(t.slots, t.operands, strict=True) if which < 0})
    if not needs:
        return None, {}
    sizes = [need * threads for need in needs]
    scratch = aligned(sum(sizes) if threads > 1 else max(sizes))
    starts = np.cumsum([0, *sizes[:-1]]) if threads > 1 else np.zeros(len(needs), np.int64)
    return scratch, {need: scratch.ctypes.data + int(start) for need, start in zip(needs, starts, strict=True)}


_VARIANTS_BELOW = 1_000
"""Instructions up to which a kernel is made for each set of outputs that are read; in larger programs all are stored."""


def _read_values(program: Program) -> set[int]:
    """Values of nodes with several outputs that somebody reads, or that are kept: the others are not stored."""
    layout = program.layout
    if len(layout.steps) > _VARIANTS_BELOW:
        return set(range(len(layout.names)))
    read = set(program.fn.live_out)
    for node in layout.fn.nodes:
        read.update(node.inputs)
    for node in layout.steps:
        read.update(node.inputs)
    return read


def _forms(layout: Layout) -> list[int]:
    """For each value a number that is the same for those of one shape, with one element type and the same strides.

    At the end, where ABSENT finds it, stands that of no value.
    """
    by_object: dict[tuple[int, int], int] = {}  # many values share one view and one spec
    numbers: dict[Any, int] = {}
    forms = []
    for view, spec in zip(layout.views, layout.specs, strict=True):
        number = by_object.get((id(view), id(spec)))
        if number is None:
            key = (view.shape, view.strides, None if spec is None else spec.dtype)  # None: pruned
            number = by_object[id(view), id(spec)] = numbers.setdefault(key, len(numbers))
        forms.append(number)
    return [*forms, ABSENT]


def _key(node: Node, forms: Sequence[int], read: set[int]) -> Any:
    stored = tuple([v in read for v in node.outputs]) if len(node.outputs) > 1 else None
    form = forms.__getitem__
    return node.op, freeze(node.attributes), stored, *map(form, node.inputs), *map(form, node.outputs)


def _template(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    make: Callable[[Layout, Node, set[int]], KernelSpec]
    if isinstance(node.op, ElementwiseOp):
        make = _elementwise_spec
    elif isinstance(node.op, ReductionOp):
        make = _reduction_spec
    elif isinstance(node.op, RowwiseOp):
        make = rowwise_spec
    elif isinstance(node.op, GemmEpilogueOp):
        make = gemm_epilogue_spec
    elif isinstance(node.op, HorizontalOp):
        make = horizontal_spec
    else:
        assert isinstance(node.op, KernelOp), node.op
        make = array_kernel_spec
    try:
        return make(layout, node, read)
    except GraphExecError as error:
        raise error.at(node=node.name, op=node.op.name, source=node.source) from error.__cause__


# -- elementwise


def _elementwise_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    op = node.op
    assert isinstance(op, ElementwiseOp)
    closes = op.closings if isinstance(op, FusedOp) else ()
    results = node.outputs[: len(node.outputs) - len(closes)]
    kept = [k for k, v in enumerate(results) if len(node.outputs) == 1 or v in read or k < len(op.updates)]
    shape, values = iteration(layout, node, kept)
    views = [layout.views[v].broadcast(shape) for v in values]
    sizes, strides = collapse(shape, [v.strides for v in views])
    operands = [Operand(layout.specs[v].dtype, movement(s[-1])) for v, s in zip(values, strides, strict=True)]
    calls, numbers, words = calls_of(layout, node, op)
    loads, stores = operands[: len(node.inputs)], operands[len(node.inputs) :]
    sources = [op.results[k] if isinstance(op, FusedOp) else ScalarRef("call", 0, k) for k in kept]
    endings = tuple(
        Close(c.op, c.source, layout.specs[v].dtype) for c, v in zip(closes, node.outputs[len(results) :], strict=True)
    )
    item = max(itemsize(o.dtype) for o in operands)
    few = 0 if endings else few_of(shape, sizes, item)
    kernel = kernels.elementwise_kernel(
        calls, tuple(loads), tuple(zip(stores, sources, strict=True)), words, len(sizes), endings,
        vectors_for(shape, sizes, item), few,
    )  # fmt: skip
    record = ArgumentBlock(sizes)
    who = [(False, k) for k in range(len(node.inputs))] + [(True, k) for k in kept]
    for operand, moves, which in zip(operands, strides, who, strict=True):
        record.operand(which, [m * itemsize(operand.dtype) for m in moves], operand)
    record.numbers(numbers, words)
    for k in range(len(results), len(node.outputs)):
        record.address((True, k))
    moved = sum(itemsize(layout.specs[v].dtype) for v in values)
    units = sizes[0] / (1 if len(sizes) > 1 else CHUNK if closes else BLOCK)
    cuts = () if few or endings else record.cut(0, 1 if len(sizes) > 1 else BLOCK)
    return record.template(kernel, product(sizes) * (0.3 * len(calls) + 0.05 * moved), shareable=not few, units=units, cuts=cuts)


# -- reductions

FEW_LANES = (8, 16, 32)
"""Elements of a short row that may be lanes, combined pairwise in registers: no more than a vector has, where it has 32 bytes."""


def _reduction_spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    op = node.op
    assert isinstance(op, ReductionOp)
    specs = [None if v == ABSENT else layout.specs[v] for v in node.inputs]
    x, out = layout.views[node.inputs[0]], layout.views[node.outputs[0]]
    axes = op.axes(specs, node.attributes)
    kept, reduced = _reduction_axes(x, out, axes, keepdims=len(out.shape) == len(x.shape))
    along = not kept or (bool(reduced) and abs(reduced[-1][1]) <= abs(kept[-1][1]))
    row = 0
    if along and kept and len(reduced) == 1 and reduced[0][0] <= SHORT_ROW and not any(isinstance(x.shape[a], Size) for a in axes):
        n, stride, _ = reduced[0]
        lanes = toolchain.vector_bytes() // itemsize(layout.specs[node.outputs[0]].dtype)
        if stride == 1 and n in FEW_LANES and (n <= lanes or toolchain.vector_bytes() == 64):
            row = n
        else:
            along = False  # rows too short for lanes of their own: the lanes are rows
    nest = kept + reduced if along else kept[:-1] + reduced + kept[-1:]
    if along and not reduced:
        nest = [*kept, (1, 0, 0)]
    dtype = layout.specs[node.outputs[0]].dtype
    load = Operand(layout.specs[node.inputs[0]].dtype, movement(nest[-1][1]))
    store = Operand(dtype, movement(nest[-1][2]))
    count_reduced = len(reduced) or int(along)
    count_kept = len(kept) - (not along)
    value = ScalarRef("operand", 0)
    kernel = kernels.reduction_kernel(op, (), (load,), value, (), store, dtype, count_kept, count_reduced, along, row)
    record = ArgumentBlock(n for n, _, _ in nest)
    record.operand((False, 0), [s * itemsize(load.dtype) for _, s, _ in nest], load)
    record.operand((True, 0), [s * itemsize(dtype) for _, _, s in nest], store)
    units = nest[0][0] if count_kept else nest[-1][0] / BLOCK
    work, cuts = product(n for n, _, _ in nest) * 0.2, record.cut(0, 1) if count_kept else ()
    return record.template(kernel, work, shareable=not along or bool(kept), units=units, cuts=cuts)


_Axis = tuple[int, int, int]
"""Size, stride in x, stride in out."""


def _reduction_axes(x: View, out: View, axes: Sequence[int], *, keepdims: bool) -> tuple[list[_Axis], list[_Axis]]:
    """Axes that stay and axes that go, neighbours merged."""
    kept: list[_Axis] = []
    reduced: list[_Axis] = []
    stay = iter(range(out.ndim - (x.ndim - len(axes)), out.ndim)) if not keepdims else None
    for axis, n in enumerate(x.shape):
        gone = axis in axes
        at = None if gone else axis if stay is None else next(stay)
        if is_one(n):
            continue
        group, move = (reduced, 0) if gone else (kept, out.strides[at])  # type: ignore[index]
        stride = x.strides[axis]
        if group and group[-1][1] == stride * n and group[-1][2] == move * n:
            group[-1] = (group[-1][0] * int(n), stride, move)
        else:
            group.append((int(n), stride, move))
    return kept, reduced
