"""decompose: replaces array kernels that declare a decomposition by its ops, so that these fuse with their neighbours.

It comes after differentiation, so that the kernel's own backward rule is used, which reads less than those of its parts would.
"""

from __future__ import annotations

from graphexec.errors import GraphExecError, OpError
from graphexec.ir.builder import FunctionBuilder, graph_values, inside
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.namespace import ops
from graphexec.ir.op import Op


def decompose(fn: Function) -> Function:
    """The function with such nodes replaced. Their results keep their numbers and names. *Raises* OpError."""
    if not any(op.decomposition is not None for op in fn.ops):
        return fn
    builder = FunctionBuilder(fn)
    for node in fn.nodes:
        if node.op.decomposition is None:
            builder.nodes.append(node)
            continue
        try:
            _replace(builder, node, frozenset())
        except GraphExecError as error:
            raise error.at(node=node.name, source=node.location) from error.__cause__
    return builder.build(fn)


def _replace(builder: FunctionBuilder, node: Node, within: frozenset[Op]) -> None:
    """Adds the nodes of a decomposition, and of those that it consists of. ``within``: the ops whose decompositions these are."""
    first = len(builder.nodes)
    builder.prefix, builder.location = node.name, node.location
    values = builder.values(node.inputs)
    operands = dict(zip(node.op.inputs, values, strict=False))
    assert node.op.decomposition is not None
    try:
        results = graph_values(node.op, "decomposition", node.op.decomposition(**operands, **node.attributes))
        numbers: dict[int, int] = {}
        for value, result in zip(node.outputs, results, strict=True):
            if value == ABSENT:
                continue
            known = builder.specs[value]
            if result.spec != known:
                raise OpError(f"the decomposition makes {result.spec}, and the kernel {known}", todo="Correct one of them.")
            made_here = any(result.index in part.outputs for part in builder.nodes[first:])
            own = result if made_here and result.index not in numbers else ops.copy(result)
            numbers[own.index] = value
    except GraphExecError as error:
        raise inside(node.op, error) from error.__cause__
    finally:
        builder.prefix, builder.location = "", None
    parts = builder.nodes[first:]
    del builder.nodes[first:]
    within |= {node.op}
    for part in parts:
        part = part.with_numbers(numbers)
        if part.op.decomposition is None or part.op in within:
            builder.nodes.append(part)
        else:
            _replace(builder, part, within)
