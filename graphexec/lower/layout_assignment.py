"""Assigns each value a buffer and a view of it, and inserts the copies that this requires.

View ops write nothing: their output is another view of their input's buffer. A kernel that needs contiguous memory gets a
copy, made once for each value. Update ops overwrite their parameter.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from graphexec.abi import CHUNK
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import FusedOp, RowwiseOp
from graphexec.ir.fused.gemm_epilogue import GemmEpilogueOp
from graphexec.ir.fused.row_schedule import RowSchedule
from graphexec.ir.op_kinds import ElementwiseOp, KernelOp, ShapeOp, ViewOp
from graphexec.ir.registry import registry
from graphexec.ir.spec import TensorSpec, broadcast
from graphexec.ir.view import NotAView, View, collapse


@dataclass
class Layout:
    """``views`` and ``storage`` are indexed by value id; ``bytes`` and ``constants`` by storage number.

    The storages of leaves come first and are persistent; the others are in the arena. ``steps`` are the nodes that compute,
    including copies.
    """

    fn: Function
    steps: list[Node] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    specs: list[TensorSpec] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    storage: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    persistent: list[bool] = field(default_factory=list)
    constants: dict[int, np.ndarray] = field(default_factory=dict)

    def new_storage(self, nbytes: int, persistent: bool = False) -> int:
        """Adds a storage and returns its number."""
        self.bytes.append(nbytes)
        self.persistent.append(persistent)
        return len(self.bytes) - 1

    def alias(self, value: int, of: int) -> None:
        """Gives a value the memory and the view of another."""
        self.views[value], self.storage[value] = self.views[of], self.storage[of]


_NO_VIEW = View((), ())


def assign_layout(fn: Function) -> Layout:
    """The layout of an inferred function without composite ops."""
    count = len(fn.names)
    layout = Layout(fn, [], list(fn.names), list(fn.specs), [_NO_VIEW] * count, [-1] * count)
    for leaf in fn.leaves:
        spec = fn.specs[leaf.value_id]
        _place(layout, leaf.value_id, spec, persistent=True)
        if leaf.kind == "constant":
            assert leaf.value is not None
            layout.constants[layout.storage[leaf.value_id]] = np.ascontiguousarray(leaf.value, dtype=leaf.dtype)
    places = _concat_places(fn)
    copies: dict[int, int] = {}
    contiguous: dict[TensorSpec, tuple[View, int]] = {}  # with its size in bytes
    for node in fn.nodes:
        op = node.op
        if isinstance(op, ViewOp):
            _assign_view(layout, node, copies)
        elif isinstance(op, ShapeOp):
            _evaluate(layout, node)
        elif op.concat:
            _copy_parts(layout, node, places)
        else:
            if isinstance(op, (KernelOp, GemmEpilogueOp)):
                node = _with_contiguous_operands(layout, node, op if isinstance(op, KernelOp) else op.product, copies)
            if isinstance(op, FusedOp) and op.closings:
                _size_partials(layout, node, op)
            for k, value in enumerate(node.outputs):
                if k < len(op.updates):
                    layout.alias(value, node.inputs[op.inputs.index(op.updates[k])])
                elif value in places:
                    _put_in_place(layout, value, places, any_strides=isinstance(op, (ElementwiseOp, GemmEpilogueOp)))
                elif isinstance(op, GemmEpilogueOp) and (shared := _shared(layout, node, value, places)) >= 0:
                    layout.alias(value, shared)
                else:
                    spec = layout.specs[value]
                    found = contiguous.get(spec)
                    if found is None:
                        found = contiguous[spec] = View.contiguous(spec.shape), spec.nbytes
                    layout.views[value], layout.storage[value] = found[0], layout.new_storage(found[1])
            layout.steps.append(node)
    return layout


def _shared(layout: Layout, node: Node, value: int, places: Container[int]) -> int:
    """An output that can share its memory with the product, which the epilogue then overwrites element by element; else -1."""
    if value != node.outputs[-1]:
        return -1
    others = node.outputs[len(node.op.updates) : -1]
    return next((v for v in others if layout.specs[v] == layout.specs[value] and v not in places), -1)


def _place(layout: Layout, value: int, spec: TensorSpec, persistent: bool = False) -> None:
    layout.views[value] = View.contiguous(spec.shape)
    layout.storage[value] = layout.new_storage(spec.nbytes, persistent)


def _evaluate(layout: Layout, node: Node) -> None:
    """Makes the result of a shape op a constant."""
    op = node.op
    assert isinstance(op, ShapeOp)
    specs = [layout.specs[v] for v in node.inputs if v != ABSENT]
    value = node.outputs[0]
    _place(layout, value, layout.specs[value], persistent=True)
    layout.constants[layout.storage[value]] = np.ascontiguousarray(op.value(specs, node.attributes))


def _assign_view(layout: Layout, node: Node, copies: dict[int, int]) -> None:
    """Makes the result of a view op a view of its operand, or of a contiguous copy of it."""
    op = node.op
    assert isinstance(op, ViewOp)
    source, value = node.inputs[0], node.outputs[0]
    specs = [None if v == ABSENT else layout.specs[v] for v in node.inputs]
    try:
        view = op.view(layout.views[source], specs, node.attributes)
    except NotAView:
        source = _copy(layout, source, copies)
        view = op.view(layout.views[source], specs, node.attributes)
    layout.views[value], layout.storage[value] = view, layout.storage[source]


def _copy(layout: Layout, value: int, copies: dict[int, int]) -> int:
    """The id of a contiguous copy of a value, made at its first use."""
    if value not in copies:
        spec = layout.specs[value]
        new = len(layout.names)
        layout.names.append(f"{layout.names[value]}.copy")
        layout.specs.append(spec)
        layout.views.append(View.contiguous(spec.shape))
        layout.storage.append(layout.new_storage(spec.nbytes))
        layout.steps.append(Node(layout.names[new], registry.get("copy"), (value,), (new,), {}))
        copies[value] = new
    return copies[value]


def _with_contiguous_operands(layout: Layout, node: Node, op: KernelOp, copies: dict[int, int]) -> Node:
    """The node, with copies of the operands that its kernel cannot read."""
    inputs = node.inputs
    for slot, value in enumerate(inputs if op.variadic else inputs[: len(op.inputs)]):
        parameter = op.inputs[0 if op.variadic else slot]
        if value == ABSENT or parameter in op.shape_only:
            continue
        core = layout.views[value].ndim if op.core is None else len(op.core[slot])
        if not _readable(layout.views[value], core, parameter in op.strided):
            inputs = (*inputs[:slot], _copy(layout, value, copies), *inputs[slot + 1 :])
    if inputs is node.inputs:
        return node
    return Node(node.name, node.op, inputs, node.outputs, node.attributes, node.source)


def _readable(view: View, core: int, strided: bool) -> bool:
    """Whether a kernel can read a view's last ``core`` axes; leading axes may have any strides."""
    shape, strides = view.shape[view.ndim - core :], view.strides[view.ndim - core :]
    if View(shape, strides).is_contiguous:
        return True
    if not strided:
        return False
    moving = [s for n, s in zip(shape, strides, strict=True) if n != 1]
    return 0 not in moving and (1 in moving or len(moving) < core)


def iteration(layout: Layout, node: Node, kept: Iterable[int]) -> tuple[tuple[int, ...], list[int]]:
    """The iteration shape of an elementwise node, and the values it accesses: its operands, then its ``kept`` outputs."""
    values = [*node.inputs, *(node.outputs[k] for k in kept)]
    return broadcast([layout.specs[v].shape for v in values]), values


def row_views(layout: Layout, node: Node) -> tuple[tuple[int, ...], list[View]]:
    """The iteration shape of a rowwise node, and its operands and results as views of that shape."""
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
    """The schedule of a rowwise node's kernel, which depends on the operands that change along a row."""
    op = node.op
    assert isinstance(op, RowwiseOp)
    _, views = row_views(layout, node)
    return op.plan(tuple(v.strides[-1] == 0 for v in views[: len(node.inputs)]))


def _size_partials(layout: Layout, node: Node, op: FusedOp) -> None:
    """Sets the number of partial results of a closing reduction, which depends on the loops after collapsing.

    Stored results take part as contiguous arrays, although they have no views yet; they give the shape if no operand has it.
    """
    results = len(op.results)
    shape, values = iteration(layout, node, range(results))
    placed = len(node.inputs) + len(op.updates)
    views = [layout.views[v] if k < placed else View.contiguous(layout.specs[v].shape)
             for k, v in enumerate(values)]  # fmt: skip
    for k in range(len(op.updates)):
        views[len(node.inputs) + k] = layout.views[node.inputs[op.inputs.index(op.updates[k])]]
    sizes, _ = collapse(shape, [v.broadcast(shape).strides for v in views])
    count = -(-sizes[0] // CHUNK) if len(sizes) == 1 else sizes[0]
    for value in node.outputs[results:]:
        layout.specs[value] = TensorSpec((count,), layout.specs[value].dtype)


# -- concatenation: if possible, each part is computed directly in its place in the whole


class _Place(NamedTuple):
    """A part of a concatenation."""

    whole: int
    axis: int
    start: int
    stop: int


def _concat_places(fn: Function) -> dict[int, _Place]:
    """The places of values that may be computed inside the concatenation that reads them."""
    places: dict[int, _Place] = {}
    joins = [n for n in fn.nodes if n.op.concat]
    if not joins:
        return places
    maker = {v: n for n in fn.nodes for v in n.outputs}
    for node in joins:
        whole = fn.specs[node.outputs[0]]
        axis, at = node.attributes["axis"] % whole.ndim, 0
        for part in node.inputs:
            width = int(fn.specs[part].shape[axis])
            inside = View.contiguous(whole.shape).slice(axis, at, at + width)
            source = part
            while inside.is_contiguous and source in maker and _same_elements(maker[source], fn):
                source = maker[source].inputs[0]
            made = maker.get(source)
            if (
                made is not None
                and source not in places
                and not isinstance(made.op, (ViewOp, ShapeOp))
                and not made.op.updates
                and (not made.op.concat or inside.is_contiguous)
                and not (isinstance(made.op, FusedOp) and made.outputs.index(source) >= len(made.op.results))
            ):
                places[source] = _Place(node.outputs[0], axis, at, at + width)
            at += width
    return places


def _same_elements(node: Node, fn: Function) -> bool:
    """Whether a node is a view of all elements of a contiguous value, in the same order."""
    if not isinstance(node.op, ViewOp) or fn.specs[node.inputs[0]].size != fn.specs[node.outputs[0]].size:
        return False
    specs = [None if v == ABSENT else fn.specs[v] for v in node.inputs]
    view = node.op.view(View.contiguous(fn.specs[node.inputs[0]].shape), specs, node.attributes)
    return view.is_contiguous and view.offset == 0


def _same_place(a: View, b: View) -> bool:
    """Whether two views of one buffer select the same elements; the stride of an axis of size 1 does not matter."""
    return a.offset == b.offset and all(s == t or n == 1 for n, s, t in zip(a.shape, a.strides, b.strides, strict=True))


def _whole(layout: Layout, value: int, places: Mapping[int, _Place]) -> None:
    """Gives a concatenation its memory when its first part is placed: inside another one, if it is a part of that."""
    if layout.storage[value] >= 0:
        return
    if value in places:
        _put_in_place(layout, value, places, any_strides=False)
    else:
        _place(layout, value, layout.specs[value])


def _put_in_place(layout: Layout, value: int, places: Mapping[int, _Place], *, any_strides: bool) -> None:
    """Places a part inside its concatenation if its kernel can write it there: contiguous, or with ``any_strides``."""
    whole, axis, start, stop = places[value]
    _whole(layout, whole, places)
    inside = layout.views[whole].slice(axis, start, stop)
    spec = layout.specs[value]
    if inside.is_contiguous:
        layout.views[value], layout.storage[value] = (
            View.contiguous(spec.shape)._replace(offset=inside.offset),
            layout.storage[whole],
        )
    elif any_strides and inside.shape == spec.shape:
        layout.views[value], layout.storage[value] = inside, layout.storage[whole]
    else:
        _place(layout, value, spec)


def _copy_parts(layout: Layout, node: Node, places: Mapping[int, _Place]) -> None:
    """Inserts copies of the parts of a concatenation that are not in their place already."""
    whole = node.outputs[0]
    _whole(layout, whole, places)
    axis, at = node.attributes["axis"] % layout.specs[whole].ndim, 0
    for part in node.inputs:
        width = int(layout.specs[part].shape[axis])
        inside = layout.views[whole].slice(axis, at, at + width)
        at += width
        there = layout.storage[part] == layout.storage[whole] and _same_place(layout.views[part], inside)
        if there or layout.specs[part].size == 0:
            continue
        new = len(layout.names)
        layout.names.append(f"{layout.names[whole]}.part")
        layout.specs.append(layout.specs[part])
        layout.views.append(inside)
        layout.storage.append(layout.storage[whole])
        layout.steps.append(Node(layout.names[new], registry.get("copy"), (part,), (new,), {}))
