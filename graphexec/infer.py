"""infer: the shape and dtype of every value, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphexec.errors import GraphExecError
from graphexec.graph import describe_operands
from graphexec.op import Op
from graphexec.order import ABSENT, Order
from graphexec.spec import Sizes, TensorSpec


def infer(order: Order, sizes: Mapping[str, int]) -> Order:
    """The order with ``specs`` filled in, named dimensions bound to ``sizes``; those that have no size get a probe.

    Nodes with the same op, attributes and operand specs are worked out once, so a graph of 100,000 nodes costs little
    more than reading them. *Raises* ShapeError, DtypeError, OpError naming the node and its operands.
    """
    bound = sizes if isinstance(sizes, Sizes) else Sizes(sizes)
    specs: list[TensorSpec] = [None] * len(order.names)  # type: ignore[list-item]
    for leaf in order.leaves:
        specs[leaf.value_id] = TensorSpec(bound.bind(leaf.shape), leaf.dtype)
    known: dict[Any, tuple[TensorSpec, ...]] = {}
    for node in order.nodes:
        operands = [specs[v] if v != ABSENT else None for v in node.inputs]
        key = (node.op, *map(_key, operands), freeze(node.attributes) if node.attributes else None)
        found = known.get(key)
        if found is None:
            known[key] = found = _infer_node(node.op, operands, node.attributes, order, node)
        for value, spec in zip(node.outputs, found, strict=True):
            specs[value] = spec
    return replace(order, specs=specs)


def _infer_node(
    op: Op, operands: list[TensorSpec | None], attributes: Mapping[str, Any], order: Order, node: Any
) -> tuple[TensorSpec, ...]:
    try:
        return op.infer(operands, attributes)
    except GraphExecError as error:
        names = [order.names[v] if v != ABSENT else None for v in node.inputs]
        error.node = None
        raise describe_operands(error, op, operands, names).at(node=node.name, op=op.name, source=node.source) from None


def freeze(attributes: Mapping[str, Any]) -> tuple[Any, ...]:
    """Attributes as a key; 1, 1.0 and True are told apart, and 0.0 and -0.0."""
    return tuple([(k, _exactly(v)) for k, v in attributes.items()])


def _exactly(value: Any) -> tuple[Any, ...]:
    kind = type(value)
    if kind is float:
        return kind, value.hex()
    if kind is tuple:
        return kind, tuple(map(_exactly, value))
    return kind, value, getattr(value, "expression", None)


def _key(spec: TensorSpec | None) -> Any:
    """Specs that differ in a name only must not share a result, although equal as numbers."""
    if spec is None:
        return None
    return (spec.dtype, *(getattr(n, "expression", n) for n in spec.shape))
