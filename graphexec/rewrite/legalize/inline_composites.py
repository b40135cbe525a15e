"""expand: composite ops become the ops that they are made of."""

from __future__ import annotations

from graphexec.errors import GraphExecError
from graphexec.ir.builder import FunctionBuilder, Traced, call_composite
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.op_kinds import CompositeOp


def inline_composites(fn: Function) -> Function:
    """The order without composite nodes. The last node of an expansion takes the composite's name."""
    if not any(isinstance(op, CompositeOp) for op in fn.ops):
        return fn
    builder = FunctionBuilder(fn)
    renamed: dict[int, int] = {}
    for node in fn.nodes:
        inputs = tuple(renamed.get(v, v) for v in node.inputs) if renamed else node.inputs
        if isinstance(node.op, CompositeOp):
            _expand_node(builder, node, inputs, renamed)
        else:
            builder.nodes.append(Node(node.name, node.op, inputs, node.outputs, node.attributes, node.source))
    outputs = {name: renamed.get(v, v) for name, v in fn.outputs.items()}
    return inline_composites(builder.build(fn, outputs=outputs))


def _expand_node(builder: FunctionBuilder, node: Node, inputs: tuple[int, ...], renamed: dict[int, int]) -> None:
    first = len(builder.nodes)
    builder.prefix, builder.source = node.name, node.source
    try:
        results = call_composite(node.op, builder.values(inputs), node.attributes)
    except GraphExecError as error:
        error.node = None
        raise error.at(node=node.name, op=node.op.name, source=node.source) from None
    finally:
        builder.prefix, builder.source = "", None
    for value, result in zip(node.outputs, results, strict=True):
        assert isinstance(result, Traced)
        renamed[value] = result.index
        for made in builder.nodes[first:]:
            if made.outputs == (result.index,) and value != ABSENT:
                made.name = builder.names[result.index] = builder.names[value]
                builder.names[value] += ".composite"
