"""fold: what depends on constants alone is computed while the graph is compiled, and nodes that change nothing go.

A node is folded by its op's slow path, which is what the op means. Small results only: a constant is memory for as long as its
program lives, and one node can make a large array of a few numbers. Views and shapes of constants stay nodes, since they cost
nothing; what reads them is folded all the same.

The identities that are removed hold for every number, NaN, infinities and -0.0 among them. So x + 0.0 stays, which turns -0.0
into 0.0, and x * 0, which is NaN where x is not finite.
Source: IEEE 754-2019, sections 6.2 (NaN) and 6.3 (the sign of a zero).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphexec.ir.aliases import Updates
from graphexec.ir.function import ABSENT, Function, Leaf, Node
from graphexec.ir.keys import freeze, spec_key
from graphexec.ir.op_kinds import ShapeOp, ViewOp
from graphexec.ir.spec import Size, TensorSpec
from graphexec.ir.view import NotAView, View

LARGEST = 4_096
"""Elements up to which a value is folded, and up to which constants are compared."""

NEUTRAL = {"multiply": (1.0, (0, 1)), "divide": (1.0, (1,)), "add": (-0.0, (0, 1)), "subtract": (0.0, (1,))}
"""Ops that give one operand as it is where the other is this number everywhere, and the slots that this may be."""


def constant_folding(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with results of constants as constants, and without nodes that give an operand unchanged."""
    return _Fold(fn, keep).run()


class _Fold:
    def __init__(self, fn: Function, keep: Iterable[int]) -> None:
        self.fn, self.specs, self.keep, self.updates = fn, fn.specs, set(keep), Updates(fn)
        self.leaves = list(fn.leaves)
        self.arrays: dict[int, np.ndarray | None] = {ABSENT: None}  # of values that are known
        self.numbers: dict[int, np.ndarray] = {}  # of values that are one number everywhere
        self.seen: dict[int, tuple[int, View]] = {}  # what a view shows, and how
        self.views: dict[Any, View | None] = {}
        self.negated: dict[int, int] = {}
        self.renamed: dict[int, int] = {}
        for leaf in fn.of_kind("constant"):
            if not self.updates.touch(leaf.value_id):
                self._know(leaf.value_id, np.asarray(leaf.value, leaf.dtype))

    def run(self) -> Function:
        nodes = []
        neutral = {op for op in self.fn.ops if isinstance(op, ViewOp) or op.name in (*NEUTRAL, "negate", "cast", "copy")}
        for node in self.fn.nodes:
            node = node.renumbered(self.renamed)
            same = self._unchanged(node) if node.op in neutral else None
            if same is not None:
                self.renamed[node.outputs[0]] = same
            elif not self._folded(node):
                nodes.append(node)
        return self.fn.with_nodes(nodes, leaves=self.leaves, **self.fn.renumbered(self.renamed))

    def _know(self, value: int, array: np.ndarray) -> None:
        if array.size <= LARGEST:
            self.arrays[value] = array
            if array.size and array.tobytes() == array.flat[:1].tobytes() * array.size:  # 0.0 and -0.0 are two numbers
                self.numbers[value] = array.flat[:1]

    # -- nodes that change nothing

    def _unchanged(self, node: Node) -> int | None:
        """The operand that a node gives as it is."""
        out, is_view = node.outputs[0], isinstance(node.op, ViewOp)
        same = self._seen_through(node) if is_view else self._neutral(node)
        if same is None or out in self.keep or spec_key(self.specs[same]) != spec_key(self.specs[out]):
            return None
        # a copy of what an update writes over, or itself written over, has memory of its own for a reason
        return None if not is_view and (self.updates.touch(same) or self.updates.touch(out)) else same

    def _neutral(self, node: Node) -> int | None:
        """The same of an elementwise node, whatever the shapes are."""
        name, x = node.op.name, node.inputs[0]
        if name in NEUTRAL:
            number, slots = NEUTRAL[name]
            return next((node.inputs[1 - slot] for slot in slots if self._is(node.inputs[slot], number)), None)
        if name == "negate":
            self.negated[node.outputs[0]] = x
            return self.negated.get(x)
        return x

    def _is(self, value: int, number: float) -> bool:
        known = self.numbers.get(value)
        return known is not None and known.tobytes() == np.asarray(number, known.dtype).tobytes()

    def _seen_through(self, node: Node) -> int | None:
        """What a view shows, whole and in its order, through any number of views between."""
        x, out = node.inputs[0], node.outputs[0]
        if x in self.numbers:
            self.numbers[out] = self.numbers[x]
        if node.op.ordered_after:  # type: ignore[attr-defined]
            return None
        base, view = self.seen.get(x, (x, None))
        specs = self._specs(node)
        key = (node.op, view, *map(spec_key, specs), freeze(node.attributes))  # views of many values are alike
        if key not in self.views:
            self.views[key] = self._looked(node, view or View.contiguous(self.specs[x].shape), specs)
        view = self.views[key]
        if view is None:
            return None
        self.seen[out] = base, view
        return base if view.shape == self.specs[base].shape and view.is_contiguous else None

    def _looked(self, node: Node, view: View, specs: Sequence[TensorSpec | None]) -> View | None:
        try:
            seen: View = node.op.view(view, specs, node.attributes)  # type: ignore[attr-defined]
        except NotAView:  # it is a view of a copy, which is made when memory is laid out
            return None
        return seen

    def _specs(self, node: Node) -> list[TensorSpec | None]:
        return [None if v == ABSENT else self.specs[v] for v in node.inputs]

    # -- nodes whose operands are constants

    def _folded(self, node: Node) -> bool:
        """Whether a node has become constants."""
        if isinstance(node.op, ShapeOp):
            self._plan(node, node.op)
            return False
        if self.arrays.keys().isdisjoint(node.inputs) or not all(v in self.arrays for v in node.inputs):
            return False
        if any(self.specs[v].size > LARGEST or self.updates.touch(v) for v in node.outputs):
            return False
        try:
            results = node.op.evaluate([self.arrays[v] for v in node.inputs], node.attributes)
        except Exception:  # whatever a reference raises: the kernel reports it, with the node, when the graph runs
            return False
        for value, result in zip(node.outputs, results, strict=True):
            self._know(value, result)
            if not isinstance(node.op, ViewOp):
                name, array = self.fn.names[value], np.array(result, order="C")
                self.leaves.append(Leaf(name, "constant", value, array.shape, array.dtype.name, array, source=node.source))
        return not isinstance(node.op, ViewOp)

    def _plan(self, node: Node, op: ShapeOp) -> None:
        """A value of shapes alone is known where no size is still open."""
        specs = self._specs(node)
        if self.specs[node.outputs[0]].size <= LARGEST and not any(isinstance(n, Size) for s in specs if s for n in s.shape):
            self._know(node.outputs[0], op.value(specs, node.attributes))
