"""unify_dtypes: casts the operands of array kernels to their common element type, and of reductions to that in which they combine.

Elementwise kernels convert each element as they load it; kernels that get whole arrays cannot.
"""

from __future__ import annotations

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op_kinds import ReductionOp
from graphexec.ir.registry import registry


def unify_dtypes(fn: Function) -> Function:
    """The function with `cast` nodes before kernels whose operands differ in type."""
    kernels = {op for op in fn.ops if isinstance(op, (KernelOp, ReductionOp))}
    if not any(_mixed(fn, node) for node in fn.nodes if node.op in kernels):
        return fn
    builder, cast = FunctionBuilder(fn), registry.get("cast")
    for node in fn.nodes:
        dtype = _mixed(fn, node)
        if dtype:
            inputs = list(node.inputs)
            builder.location = node.location
            for slot in _free(node):
                if fn.specs[inputs[slot]].dtype != dtype:
                    inputs[slot] = builder.add(cast, (inputs[slot],), {"dtype": dtype}, f"{node.name}.cast").outputs[0]
            node = node.with_inputs(tuple(inputs))
        builder.nodes.append(node)
    return builder.build(fn)


def _free(node: Node) -> list[int]:
    """The slots of the operands whose element types are promoted together."""
    op = node.op
    names = [op.inputs[0 if op.variadic else slot] for slot in range(len(node.inputs))]
    return [
        s
        for s, (n, v) in enumerate(zip(names, node.inputs, strict=True))
        if v != ABSENT and n not in op.types and n not in op.shape_only
    ]


def _mixed(fn: Function, node: Node) -> str | None:
    """The type that the operands must have, the common one or that in which a reduction combines; None if they have it."""
    op = node.op
    if not isinstance(op, (KernelOp, ReductionOp)):
        return None
    dtypes = {fn.specs[node.inputs[slot]].dtype for slot in _free(node)}
    if isinstance(op, ReductionOp) and op.widens and len(dtypes) == 1:
        (own,) = dtypes
        return None if op.combined_as(own) == own else op.combined_as(own)
    return op.promoted([None if v == ABSENT else fn.specs[v] for v in node.inputs]) if len(dtypes) > 1 else None
