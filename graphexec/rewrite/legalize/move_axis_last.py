"""move_axis_last: transposes the operands of kernels with one core axis so that their attribute `axis` is -1.

A kernel with a gufunc signature of one core axis works on the last axis.
"""

from __future__ import annotations

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import Function, Node
from graphexec.ir.op_kinds import KernelOp


def move_axis_last(fn: Function) -> Function:
    """The function in which every such node has axis -1, between two transpositions: views, or at worst copies."""
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
    ndim = fn.specs[node.outputs[0]].ndim
    return bool(node.attributes["axis"] % ndim != ndim - 1)


def _move(builder: FunctionBuilder, node: Node, renamed: dict[int, int]) -> None:
    axis = node.attributes["axis"]
    builder.prefix, builder.location = node.name, node.location
    from graphexec.ir.namespace import ops

    moved = [ops.swap_axes(v, axis1=axis, axis2=-1) for v in builder.values(node.inputs)]
    result = builder.apply(node.op, moved, {**node.attributes, "axis": -1})
    results = result if isinstance(result, tuple) else (result,)
    for value, made in zip(node.outputs, results, strict=True):
        renamed[value] = ops.swap_axes(made, axis1=axis, axis2=-1).index
    builder.prefix, builder.location = "", None
