"""with_updates: adds the optimizer's update nodes to a differentiated function."""

from __future__ import annotations

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import Function, Node
from graphexec.ir.op import Op
from graphexec.ir.registry import registry
from graphexec.ir.uses import Uses
from graphexec.optim.optimizers import Optimizer


def with_updates(fn: Function, optimizer: Optimizer) -> Function:
    """Adds an update node for each gradient, and leaves for the optimizer's state.

    A parameter is updated as soon as its gradient exists and nothing reads the parameter any more, so that the gradient's memory
    can be reused before the next one is computed.
    """
    builder = FunctionBuilder(fn)
    due: list[list[Node]] = [[] for _ in range(len(fn.nodes) + 1)]
    step: int | None = None
    uses = Uses(fn)
    counting = _step_operand(optimizer.op)
    if counting is not None:
        counter = builder.leaf(builder.fresh("optimizer.step"), "parameter", (), "int64")
        step = builder.add(registry.get("increment"), (counter,), {}, "optimizer.count").outputs[0]
    for name, gradient in fn.gradients.items():
        parameter = fn.leaf(name)
        operands = [parameter.value_id, gradient]
        spec = fn.specs[parameter.value_id]
        for state in optimizer.op.inputs[2:]:
            if state == counting:
                assert step is not None
                operands.append(step)
            else:
                operands.append(builder.leaf(builder.fresh(f"{name}.{state}"), "parameter", spec.shape, spec.dtype))
        node = builder.add(optimizer.op, tuple(operands), dict(optimizer.attributes), f"{name}.update")
        due[max(_due(uses, gradient), _due(uses, parameter.value_id))].append(node)
    first = [node for node in builder.nodes if node.op is not optimizer.op]
    builder.nodes = [*first, *due[0]]
    for node, updates in zip(fn.nodes, due[1:], strict=True):
        builder.nodes += [node, *updates]
    return builder.build(fn, gradients={}, deltas={})


def _step_operand(op: Op) -> str | None:
    """Returns the operand of a rule that holds the step number: the one that parameters share, or one named ``step``."""
    return op.shared_operand or ("step" if "step" in op.inputs else None)


def _due(uses: Uses, value: int) -> int:
    """Counts the nodes that must run until a value exists and nothing reads it, or a view of it, any more."""
    readers = uses.memory_readers.get(value, ()) if uses.aliases.shown(value) == value else uses.readers[value]
    return 1 + max(uses.producer[value], readers[-1] if readers else -1)
