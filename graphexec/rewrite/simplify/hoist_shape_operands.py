"""hoist_shape_operands: lets an operand that lends only its shape be the earliest value of that shape.

Views and reductions need no more than the shape; kernels may need the element type too. So a backward view waits for no
forward value, and can be scheduled before the loops that it is fused into. Views that wait for their operands on purpose
(`ordered_after`) are left alone.
"""

from __future__ import annotations

from typing import Any

from graphexec.ir.function import ABSENT, Function
from graphexec.ir.keys import spec_key
from graphexec.ir.op_kinds import ReductionOp, ViewOp
from graphexec.ir.spec import TensorSpec


def hoist_shape_operands(fn: Function) -> Function:
    """The function with each such operand replaced by the first value of its shape, and of its dtype where that may matter."""
    if not any(op.shape_only for op in fn.ops):
        return fn
    specs = fn.specs
    earliest: dict[Any, int] = {}
    noted: set[int] = set()  # equal specs are interned: their ids are keys

    def note(value: int) -> None:
        if id(specs[value]) not in noted:
            noted.add(id(specs[value]))
            for key in _keys(specs[value]):
                earliest.setdefault(key, value)

    for leaf in fn.leaves:
        note(leaf.value_id)
    nodes = []
    for node in fn.nodes:
        if node.op.shape_only and not node.op.variadic and not (isinstance(node.op, ViewOp) and node.op.ordered_after):
            which = 0 if isinstance(node.op, (ViewOp, ReductionOp)) else 1
            inputs = tuple(
                earliest[_keys(specs[v])[which]] if v != ABSENT and p in node.op.shape_only else v
                for p, v in zip(node.op.inputs, node.inputs, strict=False)
            )
            node = node.with_inputs(inputs)
        nodes.append(node)
        for value in node.outputs:
            note(value)
    return fn.with_nodes(nodes)


def _keys(spec: TensorSpec) -> tuple[Any, Any]:
    """Keys of a spec: of its shape alone, and with its dtype."""
    return spec_key(spec._replace(dtype="")), spec_key(spec)
