"""decompose: replaces array kernels that declare a decomposition by its ops, so that these fuse with their neighbours.

It comes after differentiation, so that the kernel's own backward rule is used, which reads less than those of its parts would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
        try:
            _add(builder, node, frozenset())
        except GraphExecError as error:
            raise error.at(node=node.name, source=node.location) from error.__cause__
    return builder.build(fn)


def _add(builder: FunctionBuilder, node: Node, within: frozenset[Op]) -> None:
    """Adds a node, or those of its decomposition. ``within``: the ops whose decompositions it is part of."""
    rule = node.op.decomposition
    if rule is None or node.op in within:
        builder.nodes.append(node)
    else:
        for part in _parts(builder, node, rule):
            _add(builder, part, within | {node.op})


def _parts(builder: FunctionBuilder, node: Node, rule: Callable[..., Any]) -> list[Node]:
    """The nodes of a decomposition; its results have the numbers of the node's."""
    first = len(builder.nodes)
    builder.prefix, builder.location = node.name, node.location
    values = builder.values(node.inputs)
    operands = dict(zip(node.op.inputs, values, strict=False))
    try:
        results = graph_values(node.op, "decomposition", rule(**operands, **node.attributes))
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
    parts = [part.with_numbers(numbers) for part in builder.nodes[first:]]
    del builder.nodes[first:]
    return parts
