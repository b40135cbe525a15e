"""inline_composites: replaces each composite op by the nodes that its function builds.

A kernel whose operands lack axes, such as a product of vectors, consists of ops in the same way: the operands get axes of size
1, and the results lose them.
"""

from __future__ import annotations

from graphexec.errors import GraphExecError
from graphexec.ir.builder import FunctionBuilder, consists_of_ops
from graphexec.ir.function import ABSENT, Function, Node


def inline_composites(fn: Function) -> Function:
    """The function without composite nodes. The node that computes a composite's result takes its name."""
    replaced = {node.name for node in fn.nodes if _consists_of_ops(node, fn)}
    if not replaced:
        return fn
    builder = FunctionBuilder(fn)
    renamed: dict[int, int] = {}
    for node in fn.nodes:
        node = node.renumbered(renamed)
        if node.name in replaced:
            _inline(builder, node, renamed)
        else:
            builder.nodes.append(node)
    return builder.build(fn, **fn.renumbered(renamed))


def _consists_of_ops(node: Node, fn: Function) -> bool:
    return consists_of_ops(node.op, [None if v == ABSENT else fn.specs[v] for v in node.inputs])


def _inline(builder: FunctionBuilder, node: Node, renamed: dict[int, int]) -> None:
    builder.location = node.location
    for value in node.outputs:
        if value != ABSENT:
            builder.names[value] += ".composite"
    try:
        results = builder.expand(node.op, builder.values(node.inputs), node.attributes, node.name)
    except GraphExecError as error:
        raise error.at(node=node.name, source=node.location) from error.__cause__
    finally:
        builder.location = None
    for value, result in zip(node.outputs, results, strict=True):
        renamed[value] = result.index
