"""decompose: replaces array kernels that declare a decomposition by its ops, so that these fuse with their neighbours.

It comes after differentiation, so that the kernel's own backward rule is used, which reads less than those of its parts would.
"""

from __future__ import annotations

from graphexec.ir.builder import FunctionBuilder, Traced
from graphexec.ir.function import Function, Node


def decompose(fn: Function) -> Function:
    """The function with such nodes replaced. Their results keep their numbers and names."""
    if not any(op.decomposition is not None for op in fn.ops):
        return fn
    builder = FunctionBuilder(fn)
    for node in fn.nodes:
        if node.op.decomposition is not None:
            _replace(builder, node)
        else:
            builder.nodes.append(node)
    return builder.build(fn)


def _replace(builder: FunctionBuilder, node: Node) -> None:
    first = len(builder.nodes)
    builder.prefix, builder.location = node.name, node.location
    operands = dict(zip(node.op.inputs, builder.values(node.inputs), strict=True))
    assert node.op.decomposition is not None
    made = node.op.decomposition(**operands, **node.attributes)
    builder.prefix, builder.location = "", None
    results = made if isinstance(made, tuple) else (made,)
    numbers: dict[int, int] = {}
    for value, result in zip(node.outputs, results, strict=True):
        assert isinstance(result, Traced), f"{node.op.name}: the decomposition returns graph values"
        numbers[result.index] = value
    parts = [part.with_numbers(numbers) for part in builder.nodes[first:]]
    made_values = {v for part in parts for v in part.outputs}
    assert made_values >= set(node.outputs), f"{node.op.name}: the decomposition made nothing"
    builder.nodes[first:] = parts
