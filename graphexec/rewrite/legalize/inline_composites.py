"""inline_composites: replaces each composite op by the nodes that its function builds.

A kernel whose operands lack axes, such as a product of vectors, consists of ops in the same way: the operands get axes of size
1, and the results lose them.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphexec.errors import GraphExecError
from graphexec.ir.builder import FunctionBuilder, Traced, call_composite
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.namespace import ops
from graphexec.ir.op_kinds import CompositeOp
from graphexec.ir.spec import TensorSpec


def inline_composites(fn: Function) -> Function:
    """The function without composite nodes. The node that computes a composite's result takes its name."""
    composites = {op for op in fn.ops if isinstance(op, CompositeOp)}
    lacking = {op for op in fn.ops if isinstance(op, KernelOp) and op.may_lack}
    if not composites and not any(_lacks(node, fn.specs) for node in fn.nodes if node.op in lacking):
        return fn
    builder = FunctionBuilder(fn)
    renamed: dict[int, int] = {}
    for node in fn.nodes:
        inputs = tuple(renamed.get(v, v) for v in node.inputs) if renamed else node.inputs
        if node.op in composites or (node.op in lacking and _lacks(node, fn.specs)):
            _inline(builder, node, inputs, renamed)
        else:
            builder.nodes.append(node.with_inputs(inputs))
    return inline_composites(builder.build(fn, **fn.renumbered(renamed)))


def _lacks(node: Node, specs: Sequence[TensorSpec]) -> frozenset[str]:
    """The core axes that a kernel's operands lack."""
    if not isinstance(node.op, KernelOp):
        return frozenset()
    return node.op.lacks([None if v == ABSENT else specs[v] for v in node.inputs])


def _inline(builder: FunctionBuilder, node: Node, inputs: tuple[int, ...], renamed: dict[int, int]) -> None:
    first = len(builder.nodes)
    builder.prefix, builder.location = node.name, node.location
    try:
        values = builder.values(inputs)
        lacking = _lacks(node, builder.specs)
        results = _with_all_axes(node, values, lacking) if lacking else call_composite(node.op, values, node.attributes)
    except GraphExecError as error:
        error.node = None
        raise error.at(node=node.name, op=node.op.name, source=node.location) from None
    finally:
        builder.prefix, builder.location = "", None
    for value, result in zip(node.outputs, results, strict=True):
        assert isinstance(result, Traced)
        renamed[value] = result.index
        if value != ABSENT:
            _take_name(builder, first, value, result.index)


def _with_all_axes(node: Node, values: Sequence[Traced | None], lacking: frozenset[str]) -> tuple[Traced, ...]:
    """Applies a kernel to operands with the axes that they lack, and removes these from the results."""
    op = node.op
    assert isinstance(op, KernelOp)
    operands = []
    for slot, v in enumerate(values):
        lacks = v is not None and op.lacks([*[None] * slot, v.spec])
        operands.append(ops.expand_dims(v, axis=op.places_of(lacking, slot)) if lacks else v)
    made = op(*operands, **node.attributes)
    results = made if isinstance(made, tuple) else (made,)
    places = [op.places_of(lacking, len(op.inputs) + k) for k in range(len(results))]
    return tuple(ops.squeeze(r, axis=p) if p else r for r, p in zip(results, places, strict=True))


def _take_name(builder: FunctionBuilder, first: int, value: int, result: int) -> None:
    """Gives the name of ``value`` to ``result``, and to the node from ``first`` on whose only output it is."""
    for position in range(first, len(builder.nodes)):
        if builder.nodes[position].outputs == (result,):
            builder.names[result] = builder.names[value]
            builder.nodes[position] = builder.nodes[position].with_name(builder.names[value])
            builder.names[value] += ".composite"
