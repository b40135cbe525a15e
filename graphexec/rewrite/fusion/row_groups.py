"""Nodes over the same rows: which nodes can share a kernel over rows, and which form each value has in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.keys import shape_keys, spec_key
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp, ViewOp
from graphexec.ir.spec import TensorSpec, is_one
from graphexec.ir.view import NotAView, View

FULL, COLUMN, FLAT, SPREAD = "full", "column", "flat", "spread"
"""The form of a value over rows (rows..., n): one element each; one per row, as (rows..., 1), as (rows...), or broadcast to all."""


def is_plain(node: Node) -> bool:
    """Whether a node is elementwise, with all its operands, and overwrites none."""
    op = node.op
    return isinstance(op, ElementwiseOp) and not (op.variadic or op.optional or op.shape_only or op.updates)


def reduces_rows(fn: Function, node: Node, op: ReductionOp) -> bool:
    """Whether a reduction is along the last of several axes, and no other."""
    x = fn.specs[node.inputs[0]]
    if x.ndim < 2 or is_one(x.shape[-1]):
        return False
    return op.axes([fn.specs[v] for v in node.inputs], node.attributes) == (x.ndim - 1,)


class Facts:
    """Keys of shapes by value, which nodes reduce rows, and which could be fused with those."""

    def __init__(self, fn: Function, reduced: Collection[int]) -> None:
        """``reduced`` has the positions of the nodes that reduce rows."""
        self.keys = shape_keys(fn.specs)
        self.reduced = {fn.nodes[p].outputs[0] for p in reduced}
        seeds = {self.keys[fn.nodes[p].inputs[0]] for p in reduced}
        self.walked: list[tuple[int, ...] | None] = []
        """For each node the shape of its rows; None where it has none."""
        for p, node in enumerate(fn.nodes):
            value = node.inputs[0] if p in reduced else node.outputs[0] if is_plain(node) else ABSENT
            self.walked.append(fn.specs[value].shape if value != ABSENT and self.keys[value] in seeds else None)


def shape_key(shape: Sequence[int]) -> Any:
    """A shape as a key that tells named sizes apart."""
    return spec_key(TensorSpec(tuple(shape), ""))[1:]


class RowGroup:
    """Nodes over the same rows, and the form of each of their values."""

    def __init__(self, fn: Function, facts: Facts, shape: tuple[int, ...]) -> None:
        self.fn, self.facts, self.shape = fn, facts, shape
        self.keys = {shape_key(shape): FULL, shape_key((*shape[:-1], 1)): COLUMN, shape_key(shape[:-1]): FLAT}
        self.forms: dict[int, str] = {}

    def join(self, node: Node) -> bool:
        """Takes a node into the group, if it works on these rows."""
        form = self._form(node)
        if form is not None:
            self.forms.update(dict.fromkeys(node.outputs, form))
        return form is not None

    def _form(self, node: Node) -> str | None:
        out = self.keys.get(self.facts.keys[node.outputs[0]])
        if out is None or ABSENT in node.inputs:
            return None
        if isinstance(node.op, ViewOp):
            return self._seen(node, out)
        if isinstance(node.op, ReductionOp):
            fits = node.outputs[0] in self.facts.reduced and self.keys.get(self.facts.keys[node.inputs[0]]) == FULL
            return out if fits and self.forms.get(node.inputs[0], FULL) == FULL else None
        if not is_plain(node):
            return None
        inside = {self.forms[v] for v in node.inputs if v in self.forms}
        if out != FULL:
            return out if inside == {out} else None
        if FLAT in inside:
            return None
        return FULL if FULL in inside or any(self._moves(v) for v in node.inputs if v not in self.forms) else SPREAD

    def _moves(self, value: int) -> bool:
        """Whether an operand from outside has more than one element per row."""
        shape = self.fn.specs[value].shape
        return bool(shape) and not is_one(shape[-1])

    def _seen(self, node: Node, out: str) -> str | None:
        """The form of a view that broadcasts one element per row along the row, or adds or drops the last axis."""
        form = self.forms.get(node.inputs[0])
        if form not in (COLUMN, FLAT) or not isinstance(node.op, ViewOp) or node.op.ordered_after:
            return None
        rows = View.contiguous(self.shape[:-1])
        source = rows.insert(rows.ndim) if form == COLUMN else rows
        try:
            view = node.op.view(source, [self.fn.specs[v] for v in node.inputs], node.attributes)
        except NotAView:
            return None
        expected = rows if out == FLAT else rows.insert(rows.ndim)
        if out == FULL:
            expected = expected.broadcast(self.shape)
        same = all(a == b or n == 1 for a, b, n in zip(view.strides, expected.strides, view.shape, strict=True))
        return (SPREAD if out == FULL else out) if same and view.offset == 0 else None
