"""updates_after_checks: schedules updates of state after the nodes that may fail, so that a run that fails has changed nothing.

An update that such a node waits for, or that may itself fail, cannot wait. What it overwrites is copied when the run begins, and
the runner restores it from there. A function without a node that may fail, or whose last one precedes all updates, stays as it is.
"""

from __future__ import annotations

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.failures import may_fail
from graphexec.ir.function import Function
from graphexec.ir.registry import registry
from graphexec.ir.uses import Uses
from graphexec.rewrite.fusion.scheduler import dependencies


def updates_after_checks(fn: Function) -> Function:
    """The function with its nodes in that order, and with copies of the state that is written before the last check."""
    fallible = {op for op in fn.ops if may_fail(op)}
    updates = _updates(fn) if fallible else {}
    checks = [p for p, node in enumerate(fn.nodes) if node.op in fallible] if updates else []
    if not checks or checks[-1] < min(updates):
        return fn
    late = _waiting_for(fn, updates)
    last = max((p for p in checks if not late[p]), default=-1)
    head = range(last + 1)
    order = [*(p for p in head if not late[p]), *(p for p in head if late[p]), *range(last + 1, len(fn.nodes))]
    fn = fn.with_nodes([fn.nodes[p] for p in order])
    end = max((k for k, p in enumerate(order) if late[p] and fn.nodes[k].op in fallible), default=-1)
    return _with_copies(fn, [leaf for p in order[: end + 1] for leaf in updates.get(p, ())])


def _updates(fn: Function) -> dict[int, list[int]]:
    """For each node that overwrites leaves: which."""
    kept = {leaf.value_id for leaf in fn.leaves if leaf.role != "constant"}
    updating = {op for op in fn.ops if op.updates}
    if not updating:
        return {}
    targets = Uses(fn).aliases.targets
    found = {p: [t for t in targets(node) if t in kept] for p, node in enumerate(fn.nodes) if node.op in updating}
    return {p: leaves for p, leaves in found.items() if leaves}


def _waiting_for(fn: Function, updates: dict[int, list[int]]) -> bytearray:
    """Marks the updates and all nodes that wait for one."""
    late = bytearray(len(fn.nodes))
    _, followers = dependencies(fn)
    for p in range(len(fn.nodes)):
        if late[p] or p in updates:
            late[p] = 1
            for follower in followers[p]:
                late[follower] = 1
    return late


def _with_copies(fn: Function, leaves: list[int]) -> Function:
    if not leaves:
        return fn
    builder = FunctionBuilder(fn)
    copy = registry.get("copy")
    saved = {v: builder.add(copy, (v,), {}, f"{fn.names[v]}.before").outputs[0] for v in dict.fromkeys(leaves)}
    builder.nodes += fn.nodes
    return builder.build(fn, saved=saved)
