"""Finds out how scalars of a graph are made of sums over the rows of a data set.

A value has a `Place`:

- it depends on no row: a parameter, a constant, or what is computed of them alone;
- it has an axis of rows, and each row depends on the same row of the data, and on whole values;
- it is a whole value: a reduction over the axis of rows, or computed of such reductions.

What fits none of these, such as a softmax along the axis of rows, has no place: it needs all rows at once.

The passes over the data that a value needs are its level. The sum of squares Σ (y - mean y)² has level 2, since its mean has
level 1. Level 0 is for what shapes alone determine, such as the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from graphexec.ir.function import Function, Leaf, Node
from graphexec.ir.infer import infer
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import normalize_axes
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp, ShapeOp, ViewOp
from graphexec.ir.spec import PROBE, PROBE_STEP, Size, Sizes, TensorSpec
from graphexec.ir.view import NotAView, View

PROBES = (PROBE + PROBE_STEP, PROBE + 3 * PROBE_STEP)
"""Two numbers of rows, between the probes of other dimensions; axes whose sizes differ between them depend on the rows."""


class Place(NamedTuple):
    """The passes that a value needs, and its axis of rows; None for a value without rows."""

    level: int
    axis: int | None = None

    @property
    def whole(self) -> bool:
        """Whether it is computed of all rows, or of their number."""
        return self.axis is None and self.level >= 0


FREE = Place(-1)
"""The place of values that depend on no row."""


class RowAnalysis:
    """The places of the values that some wanted values depend on, in a function without composite ops."""

    def __init__(self, fn: Function, dimension: str | None, wanted: Iterable[int]) -> None:
        self.fn, self.dimension = fn, dimension
        self.nodes = needed(fn.nodes, wanted)
        few, many = ({} if dimension is None else {dimension: probe} for probe in PROBES)
        part = fn.with_nodes(self.nodes, outputs={})
        self._specs, self._others = infer(part, Sizes(few)).specs, infer(part, Sizes(many)).specs
        self.places: dict[int, Place | None] = {leaf.value_id: self._of_leaf(leaf) for leaf in fn.leaves}
        self.sums: list[tuple[int, ReductionOp]] = []
        """The reductions over the axis of rows."""
        for node in self.nodes:
            for value in node.outputs:
                self.places[value] = self._of_output(node, value)

    def _varying(self, value: int) -> list[int]:
        """The axes whose size depends on the number of rows."""
        shapes = self._specs[value].shape, self._others[value].shape
        return [a for a, (n, m) in enumerate(zip(*shapes, strict=True)) if n != m]

    def _of_leaf(self, leaf: Leaf) -> Place | None:
        varying = [a for a, n in enumerate(leaf.shape) if n == self.dimension]
        return FREE if not varying else Place(1, 0) if varying == [0] and leaf.role == "input" else None

    def _of_output(self, node: Node, value: int) -> Place | None:
        varying = self._varying(value)
        if isinstance(node.op, ShapeOp):
            counts = any(self._varying(v) for v in node.inputs)
            return None if varying else Place(0) if counts and self._storable(value) else FREE if not counts else None
        places = [self.places[v] for v in node.reads]
        known = [p for p in places if p is not None]
        if len(known) < len(places):
            return None
        if all(p.axis is None for p in known):
            sized = any(self._varying(v) for v in node.inputs if v >= 0 and v not in node.reads)
            level = max([p.level for p in known], default=-1)
            return None if varying or sized or (level >= 0 and not self._storable(value)) else Place(level)
        level = max(p.level if p.axis is not None else p.level + 1 for p in known)
        if isinstance(node.op, ReductionOp) and self._reduces_rows(node):
            if varying or not self._storable(value):
                return None
            self.sums.append((value, node.op))
            return Place(level)
        rows = len(varying) == 1 and self._specs[value].shape[varying[0]] == PROBES[0]
        return Place(level, varying[0]) if rows and self._keeps_rows(node) else None

    def _storable(self, value: int) -> bool:
        """Whether the value can be the operand of a later pass: its sizes are numbers or names of dimensions."""
        return all(n.expression.isidentifier() for n in self.fn.specs[value].shape if isinstance(n, Size))

    # -- one node

    def _operands(self, node: Node) -> list[tuple[int, int, int]]:
        """Slot, number of axes and axis of rows, of each operand with rows."""
        found = []
        for slot, v in enumerate(node.inputs):
            place = self.places[v] if v in node.reads else None
            if place is not None and place.axis is not None:
                found.append((slot, self._specs[v].ndim, place.axis))
        return found

    def _node_specs(self, node: Node) -> list[TensorSpec | None]:
        return [self._specs[v] if v >= 0 else None for v in node.inputs]

    def _reduces_rows(self, node: Node) -> bool:
        assert isinstance(node.op, ReductionOp)
        return any(axis in node.op.axes(self._node_specs(node), node.attributes) for _, _, axis in self._operands(node))

    def _keeps_rows(self, node: Node) -> bool:
        """Whether each row of the output depends on the same row of the operands, and on values without rows."""
        op, operands = node.op, self._operands(node)
        if isinstance(op, ReductionOp):
            return True
        if isinstance(op, ElementwiseOp):
            return len({ndim - axis for _, ndim, axis in operands}) == 1
        if isinstance(op, ViewOp):
            return self._view_keeps_rows(node, op, operands[0][2])
        return isinstance(op, KernelOp) and _kernel_keeps_rows(op, node, operands, self._node_specs(node))

    def _view_keeps_rows(self, node: Node, op: ViewOp, axis: int) -> bool:
        """Whether moving along the output's axis of rows, and no other axis, moves to another row of the operand."""
        shape = self._specs[node.inputs[0]].shape
        x = View.contiguous(shape)
        try:
            out = op.view(x, self._node_specs(node), node.attributes)
        except NotAView:
            return False
        stride = x.strides[axis]
        (along,) = (a for a, n in enumerate(out.shape) if n == PROBES[0])
        rest = [(int(n), s) for a, (n, s) in enumerate(zip(out.shape, out.strides, strict=True)) if a != along and n != 1]
        if out.strides[along] != stride or any(s < 0 for _, s in rest):
            return False
        if axis == 0:
            return out.offset + sum((n - 1) * s for n, s in rest) < stride
        return _stays_inside(rest, out.offset, shape, x.strides, axis)


def _stays_inside(
    axes: list[tuple[int, int]], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], rows: int
) -> bool:
    """Whether axes of a view, given as size and stride, move along axes of its operand other than that of rows, and inside them."""
    reach = {a: offset // s % n if s else 0 for a, (n, s) in enumerate(zip(shape, strides, strict=True))}
    for count, stride in axes:
        if stride:
            fitting = [a for a, s in enumerate(strides) if stride % s == 0 and shape[a] > 1]
            along = max(fitting, key=lambda a: strides[a], default=rows)
            reach[along] += (count - 1) * (stride // strides[along])
    return reach[rows] == 0 and all(reach[a] < shape[a] for a in reach if a != rows)


def _kernel_keeps_rows(
    op: KernelOp, node: Node, operands: list[tuple[int, int, int]], specs: list[TensorSpec | None]
) -> bool:
    if op.core is None:
        names = op.independent_rows(specs, node.attributes)
        return all(axis == 0 and op.input_name(slot).partition("[")[0] in names for slot, _, axis in operands)
    if "axis" in op.attributes:  # the engine moves this axis to the end
        return all(normalize_axes(node.attributes["axis"], ndim, op.name) != (axis,) for _, ndim, axis in operands)
    if op.gemm is not None and len(operands) == 1:
        slot, ndim, axis = operands[0]
        contracted = {op.gemm.a: ndim - 1, op.gemm.b: ndim - 2}
        return slot in contracted and axis != contracted[slot]
    leading = {ndim - len(op.core[slot]) - axis for slot, ndim, axis in operands}
    return len(leading) == 1 and min(leading) > 0


def needed(nodes: list[Node], wanted: Iterable[int], known: Iterable[int] = ()) -> list[Node]:
    """The nodes that wanted values depend on; ``known`` values need no node."""
    pending, found = set(wanted) - set(known), []
    known = set(known)
    for node in reversed(nodes):
        if not pending.isdisjoint(node.outputs):
            found.append(node)
            pending.update(v for v in node.inputs if v not in known)
    return found[::-1]
