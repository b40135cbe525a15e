"""infer: the shape and dtype of every value, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    interner = Interner()
    for leaf in order.leaves:
        specs[leaf.value_id] = interner.intern(TensorSpec(bound.bind(leaf.shape), leaf.dtype))
    known: dict[Any, tuple[TensorSpec, ...]] = {}
    for node in order.nodes:
        key = (node.op, *[id(specs[v]) if v != ABSENT else ABSENT for v in node.inputs], freeze(node.attributes))
        found = known.get(key)
        if found is None:
            operands = [specs[v] if v != ABSENT else None for v in node.inputs]
            known[key] = found = interner.all(_infer_node(node.op, operands, node.attributes, order, node))
        for value, spec in zip(node.outputs, found, strict=True):
            specs[value] = spec
    return replace(order, specs=specs)


class Interner:
    """Gives one object for all specs that are the same, so that its id is the spec's key, for as long as the interner lives.

    Making a key of a spec takes longer than all else that is asked of a node. A spec that is not interned is one more key:
    it costs time, and changes nothing.
    """

    def __init__(self) -> None:
        self._known: dict[Any, TensorSpec] = {}

    def intern(self, spec: TensorSpec) -> TensorSpec:
        return self._known.setdefault(_key(spec), spec)

    def all(self, specs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
        return tuple([self.intern(spec) for spec in specs])


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
    return tuple([(k, _exactly(v)) for k, v in attributes.items()]) if attributes else ()


def _exactly(value: Any) -> tuple[Any, ...]:
    kind = type(value)
    if kind is float:
        return kind, value.hex()
    if kind is tuple:
        return kind, tuple(map(_exactly, value))
    return kind, value, getattr(value, "expression", None)


def shape_keys(specs: Sequence[TensorSpec]) -> list[Any]:
    """For each spec the key of its shape; None where there is none, as for values that are not computed any more.

    It is made once for each object, and values share few.
    """
    keys = {id(spec): None if spec is None else _key(spec)[1:] for spec in {id(spec): spec for spec in specs}.values()}
    return [keys[id(spec)] for spec in specs]


def _key(spec: TensorSpec | None) -> Any:
    """Specs that differ in a name only must not share a result, although equal as numbers."""
    if spec is None:
        return None
    return (spec.dtype, *(getattr(n, "expression", n) for n in spec.shape))
