"""infer: determines the shape and dtype of every value before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphexec.errors import GraphExecError
from graphexec.ir.function import ABSENT, Function
from graphexec.ir.keys import Interner, freeze
from graphexec.ir.op import Op
from graphexec.ir.spec import PROBE, Size, Sizes, TensorSpec, check_memory


def infer(fn: Function, sizes: Mapping[str, int]) -> Function:
    """Fills in ``specs`` with named dimensions bound to ``sizes``; a dimension without a size gets a probe (see `Sizes`).

    Nodes with equal op, attributes and operand specs are inferred once, so that a graph of 100,000 nodes costs little more
    than a walk over it. *Raises* ShapeError, DtypeError or OpError with the node and its operands, and
    OutOfMemoryError for outputs that are larger than memory.
    """
    bound = sizes if isinstance(sizes, Sizes) else Sizes(sizes)
    specs: list[TensorSpec] = [None] * len(fn.names)  # type: ignore[list-item]
    interner = Interner()
    for leaf in fn.leaves:
        specs[leaf.value_id] = interner.intern(TensorSpec(bound.bind(leaf.shape), leaf.dtype))
    known: dict[Any, tuple[TensorSpec, ...]] = {}
    for node in fn.nodes:
        key = (node.op, *[id(specs[v]) if v != ABSENT else ABSENT for v in node.inputs], freeze(node.attributes))
        found = known.get(key)
        if found is None:
            operands = [specs[v] if v != ABSENT else None for v in node.inputs]
            known[key] = found = interner.all(_infer_node(node.op, operands, node.attributes, fn, node))
        for value, spec in zip(node.outputs, found, strict=True):
            specs[value] = spec
    for name, v in fn.outputs.items():  # a view may have any size, but a run copies what it returns
        if not any(type(n) is Size and n >= PROBE for n in specs[v].shape):
            check_memory(specs[v].nbytes, f"the output {name!r}")
    return replace(fn, specs=specs)


def _infer_node(
    op: Op, operands: list[TensorSpec | None], attributes: Mapping[str, Any], fn: Function, node: Any
) -> tuple[TensorSpec, ...]:
    try:
        return op.infer(operands, attributes)
    except GraphExecError as error:
        names = [fn.names[v] if v != ABSENT else None for v in node.inputs]
        error.node = None
        raise op.describe_operands(error, operands, names).at(node=node.name, op=op.name, source=node.location) from None
