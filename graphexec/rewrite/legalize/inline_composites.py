"""inline_composites: replaces each composite op by the nodes that its function builds."""

from __future__ import annotations

from graphexec.errors import GraphExecError
from graphexec.ir.builder import FunctionBuilder, Traced, call_composite
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.op_kinds import CompositeOp


def inline_composites(fn: Function) -> Function:
    """The function without composite nodes. The node that computes a composite's result takes its name."""
    if not any(isinstance(op, CompositeOp) for op in fn.ops):
        return fn
    builder = FunctionBuilder(fn)
    renamed: dict[int, int] = {}
    for node in fn.nodes:
        inputs = tuple(renamed.get(v, v) for v in node.inputs) if renamed else node.inputs
        if isinstance(node.op, CompositeOp):
            _inline(builder, node, inputs, renamed)
        else:
            builder.nodes.append(node.with_inputs(inputs))
    outputs = {name: renamed.get(v, v) for name, v in fn.outputs.items()}
    return inline_composites(builder.build(fn, outputs=outputs))


def _inline(builder: FunctionBuilder, node: Node, inputs: tuple[int, ...], renamed: dict[int, int]) -> None:
    first = len(builder.nodes)
    builder.prefix, builder.location = node.name, node.location
    try:
        results = call_composite(node.op, builder.values(inputs), node.attributes)
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


def _take_name(builder: FunctionBuilder, first: int, value: int, result: int) -> None:
    """Gives the name of ``value`` to ``result``, and to the node from ``first`` on whose only output it is."""
    for position in range(first, len(builder.nodes)):
        if builder.nodes[position].outputs == (result,):
            builder.names[result] = builder.names[value]
            builder.nodes[position] = builder.nodes[position].with_name(builder.names[value])
            builder.names[value] += ".composite"
