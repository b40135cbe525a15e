"""constant_folding: computes nodes whose operands are constants while the graph is compiled, and removes identities.

A folded value has the bits that a run would compute. If all references of the nodes in question are declared exact, these compute
it; otherwise the kernels do, in a program of their own that runs once. Small results only: a constant takes memory for as long as
its program lives, and one node can make a large array of a few numbers. Views and shapes of constants stay nodes, since they cost
nothing; their readers are folded all the same.

Identities (`algebraic`) are removed in the same walk, because each of the two finds work for the other: x * (2.0 * 0.5) is x.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

import numpy as np

from graphexec.ir.aliases import Aliases
from graphexec.ir.function import ABSENT, RUN_HOOK, Function, Leaf, Node
from graphexec.ir.op import Op
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
        self.live_out = {*live_out, *fn.live_out}
        self.identities = Identities(fn, self.aliases, set(live_out), self.numbers)
        for leaf in fn.of_role("constant"):
            if not self.aliases.is_written(leaf.value_id):
                self._know(leaf.value_id, np.asarray(leaf.value, leaf.dtype))
        self.by_kernel: dict[int, np.ndarray] = {}  # values of the constant part that others read
        self.part = self._constant_part()

    def run(self) -> Function:
        nodes = []
        renamed: dict[int, int] = {}
        for node in self.fn.nodes:
            if node.outputs in self.part:
                self._keep(node, [self.by_kernel.get(v) for v in node.outputs])
                continue
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

    def _foldable(self, node: Node, known: Container[int]) -> bool:
        """Whether a node's operands are known and its results are small."""
        if not node.inputs or not all(v in known for v in node.inputs):
            return False
        return not any(self.specs[v].size > MAX_CONSTANT_ELEMENTS or self.aliases.is_written(v) for v in node.outputs)

    def _folded(self, node: Node) -> bool:
        """Turns a node into constants where its operands are known; False where it stays a node."""
        if isinstance(node.op, ShapeOp):
            self._evaluate_shape(node, node.op)
            return False
        if not _by_reference(node.op) or not self._foldable(node, self.arrays):
            return False
        try:
            results = node.op.evaluate([self.arrays[v] for v in node.inputs], node.attributes)
        except Exception:  # whatever a reference raises: the kernel reports it, with the node, when the graph runs
            return False
        if isinstance(node.op, ViewOp):
            self._know(node.outputs[0], results[0])
            return False
        self._keep(node, results)
        return True

    def _keep(self, node: Node, results: Sequence[np.ndarray | None]) -> None:
        """Turns a node's results into constants, except those that nothing reads."""
        for value, result in zip(node.outputs, results, strict=True):
            if result is not None:
                self._know(value, result)
                name, array = self.fn.names[value], np.array(result, order="C")
                self.leaves.append(Leaf(name, "constant", value, array.shape, array.dtype.name, array, location=node.location))

    def _constant_part(self) -> set[tuple[int, ...]]:
        """The nodes, as their outputs, that a program of their own has computed; none if references can compute them all."""
        known, part = set(self.arrays), []  # type: tuple[set[int], list[Node]]
        for node in self.fn.nodes:
            if isinstance(node.op, ShapeOp):
                self._evaluate_shape(node, node.op)
                known.update(v for v in node.outputs if v in self.arrays)
            elif self._foldable(node, known):
                known.update(node.outputs)
                part.append(node)
        if all(_by_reference(node.op) for node in part):
            return set()
        computed = {node.outputs for node in part if not isinstance(node.op, ViewOp)}
        read = {v for node in self.fn.nodes if node.outputs not in computed for v in node.inputs} | self.live_out
        wanted = [v for outputs in computed for v in outputs if v in read]
        try:
            self.by_kernel = dict(zip(wanted, self._run(part, wanted), strict=True))
        except Exception:  # whatever a kernel reports: it does so again, with the node, when the graph runs
            return set()
        return computed

    def _run(self, part: Sequence[Node], wanted: Sequence[int]) -> Sequence[np.ndarray]:
        """Values of the constant part, computed by a program to which constants are inputs."""
        fn, given = self.fn, {}
        for v in dict.fromkeys(v for node in part for v in node.inputs):
            array = self.arrays.get(v)
            if array is not None:
                given[v] = array
        leaves = [Leaf(fn.names[v], "input", v, a.shape, a.dtype.name) for v, a in given.items()]
        outputs = {fn.names[v]: v for v in wanted}
        alone = fn.with_nodes(list(part), leaves=leaves, outputs=outputs, gradients={}, deltas={})
        return RUN_HOOK.run(alone, {fn.names[v]: a for v, a in given.items()})

    def _evaluate_shape(self, node: Node, op: ShapeOp) -> None:
        """Notes a value that depends on shapes alone, where all sizes are declared."""
        specs = [None if v == ABSENT else self.specs[v] for v in node.inputs]
        is_small = self.specs[node.outputs[0]].size <= MAX_CONSTANT_ELEMENTS
        if is_small and not any(isinstance(n, Size) for s in specs if s for n in s.shape):
            self._know(node.outputs[0], op.value(specs, node.attributes))


def _by_reference(op: Op) -> bool:
    return op.exact or isinstance(op, ViewOp)
