"""Assigns each value a buffer and a view of it, and inserts the copies that this requires.

View ops write nothing: their output is another view of their input's buffer. A kernel that needs contiguous memory gets a
copy, made once for each value. Update ops overwrite their parameter.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np

from graphexec.abi import CHUNK
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.gemm_epilogue import GemmEpilogueOp
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op_kinds import ElementwiseOp, ShapeOp, ViewOp
from graphexec.ir.spec import Size, TensorSpec, check_memory
from graphexec.ir.view import NotAView, View, collapse
from graphexec.lower.concat_placement import Place, concat_places, copy_parts, put_in_place
from graphexec.lower.layout import Layout, iteration

_NO_VIEW = View((), ())


def assign_layout(fn: Function) -> Layout:
    """The layout of an inferred function without composite ops."""
    count = len(fn.names)
    layout = Layout(fn, [], list(fn.names), list(fn.specs), [_NO_VIEW] * count, [-1] * count)
    for leaf in fn.leaves:
        layout.add_contiguous(leaf.value_id, persistent=True)
        if leaf.role == "constant":
            assert leaf.value is not None
            layout.constants[layout.storage[leaf.value_id]] = np.ascontiguousarray(leaf.value, dtype=leaf.dtype)
    places = concat_places(fn)
    copies: dict[int, int] = {}
    contiguous: dict[TensorSpec, tuple[View, int]] = {}  # with its size in bytes
    for node in fn.nodes:
        op = node.op
        if isinstance(op, ViewOp):
            _assign_view(layout, node, copies)
        elif isinstance(op, ShapeOp):
            _evaluate(layout, node)
        elif op.concat:
            copy_parts(layout, node, places)
        else:
            if isinstance(op, (KernelOp, GemmEpilogueOp)):
                node = _with_contiguous_operands(layout, node, op if isinstance(op, KernelOp) else op.product, copies)
            if isinstance(op, FusedOp) and op.closings:
                _size_partials(layout, node, op)
            _assign_outputs(layout, node, places, contiguous)
            layout.steps.append(node)
    return layout


def _assign_outputs(
    layout: Layout, node: Node, places: Mapping[int, Place], contiguous: dict[TensorSpec, tuple[View, int]]
) -> None:
    """Assigns memory to what a step computes; values of one spec share a view, kept in ``contiguous``."""
    op = node.op
    for k, value in enumerate(node.outputs):
        if k < len(op.updates):
            layout.alias(value, node.inputs[op.inputs.index(op.updates[k])])
        elif value in places:
            put_in_place(layout, value, places, any_strides=isinstance(op, (ElementwiseOp, GemmEpilogueOp)))
        elif isinstance(op, GemmEpilogueOp) and (shared := _shared(layout, node, value, places)) >= 0:
            layout.alias(value, shared)
        else:
            spec = layout.specs[value]
            found = contiguous.get(spec)
            if found is None:
                found = contiguous[spec] = View.contiguous(spec.shape), spec.nbytes
            layout.views[value], layout.storage[value] = found[0], layout.new_storage(found[1])


def _shared(layout: Layout, node: Node, value: int, places: Container[int]) -> int:
    """An output that can share its memory with the product, which the epilogue then overwrites element by element; else -1."""
    if value != node.outputs[-1]:
        return -1
    others = node.outputs[len(node.op.updates) : -1]
    return next((v for v in others if layout.specs[v] == layout.specs[value] and v not in places), -1)


def _evaluate(layout: Layout, node: Node) -> None:
    """Makes the result of a shape op a constant."""
    op = node.op
    assert isinstance(op, ShapeOp)
    specs = [layout.specs[v] for v in node.inputs if v != ABSENT]
    value = node.outputs[0]
    check_memory(layout.specs[value].nbytes, f"the value {node.name!r}")
    layout.add_contiguous(value, persistent=True)
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
        storage = layout.new_storage(spec.nbytes)
        copies[value] = layout.add_copy(value, f"{layout.names[value]}.copy", View.contiguous(spec.shape), storage)
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
    return Node(node.name, node.op, inputs, node.outputs, node.attributes, node.location)


def _readable(view: View, core: int, strided: bool) -> bool:
    """Whether a kernel can read a view's last ``core`` axes, one of them without gaps; leading axes may have any strides."""
    shape, strides = view.shape[view.ndim - core :], view.strides[view.ndim - core :]
    if View(shape, strides).is_contiguous:
        return True
    if not strided:
        return False
    moving = [s for n, s in zip(shape, strides, strict=True) if n != 1]
    return 0 not in moving and (1 in moving or not moving)


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
    if any(isinstance(n, Size) for n in shape):  # not declared: the same kernel for any number of them
        count = Size(count, "partials")
    for value in node.outputs[results:]:
        layout.specs[value] = TensorSpec((count,), layout.specs[value].dtype)
