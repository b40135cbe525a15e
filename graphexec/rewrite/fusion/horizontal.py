"""horizontal_fusion: updates several small parameters with one instruction, in the place of the last of their updates.

It works on the updates that `fuse` and `gemm_epilogue` have not joined with the nodes that compute their gradients. An update
can be put off if nothing reads its parameter any more; its gradient stays live until then, so only small ones wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.horizontal import horizontal_op
from graphexec.ir.keys import freeze
from graphexec.ir.op_kinds import ElementwiseOp, ViewOp
from graphexec.ir.spec import Size
from graphexec.ir.uses import Uses

MAX_PARAMETER_ELEMENTS = 1_024
"""Elements of a parameter, at most: a larger one takes long enough by itself, and threads may share it."""
MAX_DISTANCE = 6
"""Nodes from the first to the last of an instruction's updates, at most: gradients do not wait for long."""
MIN_PARAMETERS, MAX_PARAMETERS = 3, 32
"""Parameters of an instruction. Kernels for single ones, compiled for their number of elements, update two as fast."""
MAX_TOTAL_ELEMENTS = 8_192
"""Elements of an instruction, at most: one thread updates them all."""


def horizontal_fusion(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function with such updates as one node."""
    found = [p for p, node in enumerate(fn.nodes) if _is_rule(node)]
    if len(found) < MIN_PARAMETERS:
        return fn
    movable = _Movable(fn, live_out)
    groups: dict[Any, list[list[int]]] = {}
    for p in filter(movable, found):
        several = groups.setdefault(_key(fn, fn.nodes[p]), [])
        if several and _fits(fn, several[-1], p):
            several[-1].append(p)
        else:
            several.append([p])
    nodes: list[Node | None] = list(fn.nodes)
    for group in (g for several in groups.values() for g in several if len(g) >= MIN_PARAMETERS):
        for p in group:
            nodes[p] = None
        nodes[group[-1]] = _joined([fn.nodes[p] for p in group])
    return fn.with_nodes([n for n in nodes if n is not None])


def _fits(fn: Function, group: list[int], p: int) -> bool:
    elements = sum(_size(fn, fn.nodes[q]) for q in (*group, p))
    return p - group[0] <= MAX_DISTANCE and len(group) < MAX_PARAMETERS and elements <= MAX_TOTAL_ELEMENTS


def _is_rule(node: Node) -> bool:
    """Whether a node updates a parameter, and its state if there is any, by one op."""
    op = node.op
    return (
        isinstance(op, ElementwiseOp) and not isinstance(op, FusedOp) and len(op.inputs) > 1 and ABSENT not in node.inputs
        and len(op.updates) == len(op.outputs) and op.updates[0] == op.inputs[0]
    )  # fmt: skip


def _own(node: Node) -> list[int]:
    """A rule's operands, without the one that all parameters share."""
    return [v for v, name in zip(node.inputs, node.op.inputs, strict=True) if name != node.op.shared_operand]


def _shared(node: Node) -> list[int]:
    return [v for v, name in zip(node.inputs, node.op.inputs, strict=True) if name == node.op.shared_operand]


def _key(fn: Function, node: Node) -> Any:
    """A key that is the same for rules that may be applied by one instruction."""
    return node.op, freeze(node.attributes), tuple(fn.specs[v].dtype for v in _own(node)), tuple(_shared(node))


def _size(fn: Function, node: Node) -> int:
    return int(fn.specs[node.inputs[0]].size)


def _joined(nodes: list[Node]) -> Node:
    op = nodes[0].op
    assert isinstance(op, ElementwiseOp)
    inputs = (*(v for node in nodes for v in _own(node)), *_shared(nodes[0]))
    outputs = tuple(v for node in nodes for v in node.outputs)
    return Node("optimizer.updates", horizontal_op(op, len(nodes)), inputs, outputs, nodes[0].attributes, nodes[0].location)


class _Movable:
    """Whether the update at a position is small, is of contiguous memory, and can be put off."""

    def __init__(self, fn: Function, live_out: Iterable[int]) -> None:
        self.fn, self.uses = fn, Uses(fn, live_out)
        self.aliases = self.uses.aliases
        self.leaves = {leaf.value_id for leaf in fn.leaves}
        self.scattered: set[int] = set()  # values that may be parts of another one's memory
        for node in fn.nodes:
            if isinstance(node.op, ViewOp):
                self.scattered.update(node.outputs)
            elif node.op.concat:
                self.scattered.update(map(self.aliases.base, node.inputs))

    def __call__(self, position: int) -> bool:
        node, specs = self.fn.nodes[position], self.fn.specs
        own, targets = _own(node), self.aliases.targets(node)
        shape = specs[node.inputs[0]].shape
        if any(isinstance(n, Size) for n in shape) or _size(self.fn, node) > MAX_PARAMETER_ELEMENTS:
            return False
        if any(specs[v].shape != shape for v in own):
            return False
        if any(t not in self.leaves or len(self.aliases.written[t]) > 1 or self.uses.last_use(t) > position for t in targets):
            return False
        others = [v for v in own if self.aliases.base(v) not in targets]
        return not any({v, self.aliases.base(v)} & self.scattered or self.aliases.is_written(v) for v in others)
