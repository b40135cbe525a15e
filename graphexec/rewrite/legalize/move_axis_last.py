"""move_axis_last: makes the axes along which a kernel works its last one, so that its attribute `axis` is -1.

A kernel with a gufunc signature of one core axis works on the last axis. Another axis changes places with it; several, or none,
become the columns of a matrix. Views do that, or at worst copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import Function, Node
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.namespace import ops
from graphexec.ir.op import reduced_axes


def move_axis_last(fn: Function) -> Function:
    """The function in which every such node has axis -1."""
    kernels = {op for op in fn.ops if isinstance(op, KernelOp) and op.core is not None}
    if not any(_off_axis(fn, node) for node in fn.nodes if node.op in kernels):
        return fn
    builder = FunctionBuilder(fn)
    renamed: dict[int, int] = {}
    for node in fn.nodes:
        node = node.renumbered(renamed)
        if _off_axis(fn, node):
            _move(builder, node, renamed)
        else:
            builder.nodes.append(node)
    return builder.build(fn, **fn.renumbered(renamed))


def _off_axis(fn: Function, node: Node) -> bool:
    op = node.op
    if not isinstance(op, KernelOp) or op.core is None or "axis" not in node.attributes:
        return False
    axis, ndim = node.attributes["axis"], fn.specs[node.outputs[0]].ndim
    return not isinstance(axis, int) or ndim == 0 or axis % ndim != ndim - 1


def _move(builder: FunctionBuilder, node: Node, renamed: dict[int, int]) -> None:
    builder.prefix, builder.location = node.name, node.location
    values = builder.values(node.inputs)
    axes = reduced_axes(node.attributes["axis"], builder.specs[node.outputs[0]].ndim, node.op.name)
    results = _swapped(node, values, axes[0]) if len(axes) == 1 else _as_columns(node, values, axes)
    for value, made in zip(node.outputs, results, strict=True):
        renamed[value] = made.index
    builder.prefix, builder.location = "", None


def _swapped(node: Node, values: Sequence[Any], axis: int) -> list[Any]:
    """The results along one axis, by swapping it with the last."""
    results = _apply(node, [ops.swap_axes(v, axis1=axis, axis2=-1) for v in values])
    return [ops.swap_axes(made, axis1=axis, axis2=-1) for made in results]


def _as_columns(node: Node, values: Sequence[Any], axes: Sequence[int]) -> list[Any]:
    """The results along several axes, or none: of matrices with these axes as columns."""
    ndim = max(v.ndim for v in values)
    order = [*(a for a in range(ndim) if a not in axes), *axes]
    back = [order.index(a) for a in range(ndim)]
    moved = [ops.transpose(v, axes=order) if ndim else v for v in values]
    results = _apply(node, [ops.flatten(v, axis=ndim - len(axes)) for v in moved])
    shaped = [ops.reshape_like(made, moved[0]) for made in results]
    return [ops.transpose(made, axes=back) if ndim else made for made in shaped]


def _apply(node: Node, values: Sequence[Any]) -> tuple[Any, ...]:
    made = node.op(*values, **{**node.attributes, "axis": -1})
    return made if isinstance(made, tuple) else (made,)
