"""The update nodes of a training step."""

from __future__ import annotations

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import Function, Node
from graphexec.ir.op_kinds import ViewOp
from graphexec.ir.registry import registry
from graphexec.optim.optimizers import Optimizer


def with_updates(fn: Function, optimizer: Optimizer) -> Function:
    """The order with an update node for each gradient, and leaves for the optimizer's state.

    A parameter is updated as soon as its gradient is there and nothing reads it any more: the gradient is over before the
    next is made.
    """
    builder = FunctionBuilder(fn)
    due: list[list[Node]] = [[] for _ in range(len(fn.nodes) + 1)]
    step: int | None = None
    uses = _last_uses(fn)
    if "step" in optimizer.op.inputs:
        counter = builder.leaf(builder.fresh("optimizer.step"), "parameter", (), "int64")
        step = builder.add(registry.get("increment"), (counter,), {}, "optimizer.count").outputs[0]
    for name, gradient in fn.gradients.items():
        parameter = fn.leaf(name)
        operands = [parameter.value_id, gradient]
        spec = fn.specs[parameter.value_id]
        for state in optimizer.op.inputs[2:]:
            if state == "step":
                assert step is not None
                operands.append(step)
            else:
                operands.append(builder.leaf(builder.fresh(f"{name}.{state}"), "parameter", spec.shape, spec.dtype))
        node = builder.add(optimizer.op, tuple(operands), dict(optimizer.attributes), f"{name}.update")
        due[max(uses[gradient], uses[parameter.value_id])].append(node)
    counting = [node for node in builder.nodes if node.op is not optimizer.op]
    builder.nodes = [*counting, *due[0]]
    for node, updates in zip(fn.nodes, due[1:], strict=True):
        builder.nodes += [node, *updates]
    return builder.build(fn, gradients={}, deltas={})


def _last_uses(fn: Function) -> list[int]:
    """For each value, how many nodes must have run before it is made and nothing reads its memory any more."""
    uses, base = [0] * len(fn.names), list(range(len(fn.names)))
    for count, node in enumerate(fn.nodes, 1):
        for v in node.reads:
            uses[base[v]] = uses[v] = count
        for v in node.outputs:
            uses[v] = count
        if isinstance(node.op, ViewOp):
            base[node.outputs[0]] = base[node.inputs[0]]
    return uses
