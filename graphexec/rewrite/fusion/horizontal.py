"""multi_tensor: small parameters that one rule updates are updated by one instruction, where the last of them was.

It is done to what is left of the updates: `fuse` and `epilogue` join others with what makes their gradients. An update may be
done later if nothing reads its parameter any more; its gradient is kept until then, so only small ones wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphexec.ir.aliases import Updates
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.horizontal import SHARED, horizontal_op
from graphexec.ir.keys import freeze
from graphexec.ir.op_kinds import ElementwiseOp, ViewOp
from graphexec.ir.spec import Size

SMALL = 1_024
"""Elements of a parameter, at most: a larger one takes long enough by itself, and may be shared by threads."""
NEAR = 6
"""Nodes from the first to the last of an instruction's updates, at most: gradients do not wait for long."""
LEAST, MOST = 3, 32
"""Parameters of an instruction: kernels for one of them, which have its number of elements, do two as fast."""
TOTAL = 8_192
"""Elements of an instruction, at most, which one thread does."""


def horizontal_fusion(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with such updates as one node."""
    found = [p for p, node in enumerate(fn.nodes) if _is_rule(node)]
    if len(found) < LEAST:
        return fn
    movable = _Movable(fn)
    groups: dict[Any, list[list[int]]] = {}
    for p in filter(movable, found):
        several = groups.setdefault(_key(fn, fn.nodes[p]), [])
        if several and _fits(fn, several[-1], p):
            several[-1].append(p)
        else:
            several.append([p])
    nodes: list[Node | None] = list(fn.nodes)
    for group in (g for several in groups.values() for g in several if len(g) >= LEAST):
        for p in group:
            nodes[p] = None
        nodes[group[-1]] = _joined([fn.nodes[p] for p in group])
    return fn.with_nodes([n for n in nodes if n is not None])


def _fits(fn: Function, group: list[int], p: int) -> bool:
    elements = sum(_size(fn, fn.nodes[q]) for q in (*group, p))
    return p - group[0] <= NEAR and len(group) < MOST and elements <= TOTAL


def _is_rule(node: Node) -> bool:
    """Whether a node updates a parameter, and its state if there is any, by one op."""
    op = node.op
    return (
        isinstance(op, ElementwiseOp) and not isinstance(op, FusedOp) and len(op.inputs) > 1 and ABSENT not in node.inputs
        and len(op.updates) == len(op.outputs) and op.updates[0] == op.inputs[0]
    )  # fmt: skip


def _own(node: Node) -> list[int]:
    """A rule's operands but for the one that all parameters share."""
    return [v for v, name in zip(node.inputs, node.op.inputs, strict=True) if name != SHARED]


def _key(fn: Function, node: Node) -> Any:
    """The same for rules that may be one."""
    shared = [v for v, name in zip(node.inputs, node.op.inputs, strict=True) if name == SHARED]
    return node.op, freeze(node.attributes), tuple(fn.specs[v].dtype for v in _own(node)), tuple(shared)


def _size(fn: Function, node: Node) -> int:
    return int(fn.specs[node.inputs[0]].size)


def _joined(nodes: list[Node]) -> Node:
    op = nodes[0].op
    assert isinstance(op, ElementwiseOp)
    shared = [v for v, name in zip(nodes[0].inputs, op.inputs, strict=True) if name == SHARED]
    inputs = (*(v for node in nodes for v in _own(node)), *shared)
    outputs = tuple(v for node in nodes for v in node.outputs)
    return Node("optimizer.updates", horizontal_op(op, len(nodes)), inputs, outputs, nodes[0].attributes, nodes[0].source)


class _Movable:
    """Whether the update at a position is small, lies in memory without gaps, and may be done later."""

    def __init__(self, fn: Function) -> None:
        self.fn, self.updates = fn, Updates(fn)
        self.leaves = {leaf.value_id for leaf in fn.leaves}
        self.scattered: set[int] = set()  # values that may lie in another one's memory
        self.last: dict[int, int] = {}
        self.times: dict[int, int] = {}
        for position, node in enumerate(fn.nodes):
            if isinstance(node.op, ViewOp):
                self.scattered.update(node.outputs)
            elif node.op.name == "concat":
                self.scattered.update(map(self.updates.base, node.inputs))
            for v in node.reads:
                self.last[self.updates.base(v)] = position
            for target in self.updates.targets(node):
                self.times[target] = self.times.get(target, 0) + 1

    def __call__(self, position: int) -> bool:
        node, specs = self.fn.nodes[position], self.fn.specs
        own, targets = _own(node), self.updates.targets(node)
        shape = specs[node.inputs[0]].shape
        if any(isinstance(n, Size) for n in shape) or _size(self.fn, node) > SMALL or any(specs[v].shape != shape for v in own):
            return False
        if any(t not in self.leaves or self.times[t] > 1 or self.last[t] > position for t in targets):
            return False
        others = [v for v in own if self.updates.base(v) not in targets]
        return not any({v, self.updates.base(v)} & self.scattered or self.updates.touch(v) for v in others)
