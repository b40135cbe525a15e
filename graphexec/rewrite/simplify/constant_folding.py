"""constant_folding: computes nodes whose operands are constants while the graph is compiled, and removes identities.

A node is folded by its op's slow path, which is the op's meaning. Small results only: a constant takes memory for as long as
its program lives, and one node can make a large array of a few numbers. Views and shapes of constants stay nodes, since they
cost nothing; their readers are folded all the same.

Identities (`algebraic`) are removed in the same walk, because each of the two finds work for the other: x * (2.0 * 0.5) is x.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphexec.ir.aliases import Aliases
from graphexec.ir.function import ABSENT, Function, Leaf, Node
from graphexec.ir.op_kinds import ShapeOp, ViewOp
from graphexec.ir.spec import Size
from graphexec.rewrite.simplify.algebraic import Identities

MAX_CONSTANT_ELEMENTS = 4_096
"""Elements up to which a value is folded, and up to which constants are compared."""


def constant_folding(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function with results of constants as constants, and without nodes that give an operand unchanged."""
    return _Folding(fn, live_out).run()


class _Folding:
    def __init__(self, fn: Function, live_out: Iterable[int]) -> None:
        self.fn, self.specs, self.aliases = fn, fn.specs, Aliases(fn)
        self.leaves = list(fn.leaves)
        self.arrays: dict[int, np.ndarray | None] = {ABSENT: None}  # of values that are known
        self.numbers: dict[int, np.ndarray] = {}  # of values that are one number everywhere
        self.identities = Identities(fn, self.aliases, set(live_out), self.numbers)
        for leaf in fn.of_role("constant"):
            if not self.aliases.is_written(leaf.value_id):
                self._know(leaf.value_id, np.asarray(leaf.value, leaf.dtype))

    def run(self) -> Function:
        nodes = []
        renamed: dict[int, int] = {}
        for node in self.fn.nodes:
            node = node.renumbered(renamed)
            same = self.identities.unchanged(node) if node.op in self.identities.ops else None
            if same is not None:
                renamed[node.outputs[0]] = same
            elif not self._folded(node):
                nodes.append(node)
        return self.fn.with_nodes(nodes, leaves=self.leaves, **self.fn.renumbered(renamed))

    def _know(self, value: int, array: np.ndarray) -> None:
        if array.size <= MAX_CONSTANT_ELEMENTS:
            self.arrays[value] = array
            if array.size and array.tobytes() == array.flat[:1].tobytes() * array.size:  # 0.0 and -0.0 are two numbers
                self.numbers[value] = array.flat[:1]

    def _folded(self, node: Node) -> bool:
        """Turns a node into constants where its operands are known; False where it stays a node."""
        if isinstance(node.op, ShapeOp):
            self._evaluate_shape(node, node.op)
            return False
        if self.arrays.keys().isdisjoint(node.inputs) or not all(v in self.arrays for v in node.inputs):
            return False
        if any(self.specs[v].size > MAX_CONSTANT_ELEMENTS or self.aliases.is_written(v) for v in node.outputs):
            return False
        try:
            results = node.op.evaluate([self.arrays[v] for v in node.inputs], node.attributes)
        except Exception:  # whatever a reference raises: the kernel reports it, with the node, when the graph runs
            return False
        for value, result in zip(node.outputs, results, strict=True):
            self._know(value, result)
            if not isinstance(node.op, ViewOp):
                name, array = self.fn.names[value], np.array(result, order="C")
                self.leaves.append(Leaf(name, "constant", value, array.shape, array.dtype.name, array, location=node.location))
        return not isinstance(node.op, ViewOp)

    def _evaluate_shape(self, node: Node, op: ShapeOp) -> None:
        """Notes a value that depends on shapes alone, where all sizes are declared."""
        specs = [None if v == ABSENT else self.specs[v] for v in node.inputs]
        is_small = self.specs[node.outputs[0]].size <= MAX_CONSTANT_ELEMENTS
        if is_small and not any(isinstance(n, Size) for s in specs if s for n in s.shape):
            self._know(node.outputs[0], op.value(specs, node.attributes))
