"""recompute: forward values are computed again when the backward pass needs them, instead of being kept.

The forward pass is cut into segments. Kept are the values that cross a cut, that is, that a later segment reads; what lies
inside a segment is over when the segment is. Before the backward pass of a segment its nodes stand once more, and compute
what is needed from what was kept: with n layers in √n segments, √n boundaries and √n layers are there at once, for the time
of one more forward pass at most. The last segment is needed at once, and stays.

Nothing may move such a node ahead of the deltas that it waits for, or merge it with the first one: what it reads passes
through `after`, which waits for the backward pass of the segment behind it.
Source: Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.op_kinds import ShapeOp, ViewOp
from graphexec.ir.registry import registry
from graphexec.options import Request
from graphexec.rewrite.schedule.checkpoint_segments import Forward, fixed, kept
from graphexec.rewrite.simplify.dce import dce


def rematerialize(fn: Function, nodes: Iterable[Node], request: Request, keep: Sequence[int]) -> Function:
    """A differentiated order in which its forward pass, ``nodes``, is computed again segment by segment.

    Values in ``keep`` can be read after a run, and stay. Costs time in proportion to the number of nodes.
    """
    own = set(map(id, nodes))
    fn = dce(fn, keep)
    forward = Forward(fn, sum(id(node) in own for node in fn.nodes))
    cuts = forward.cuts(request)
    return _Recompute(forward, cuts, keep).run() if cuts else fn


class _Recompute:
    def __init__(self, forward: Forward, cuts: Sequence[int], keep: Sequence[int]) -> None:
        self.forward, self.maker = forward, forward.maker
        self.starts = [0, *cuts, len(forward.nodes)]
        self.segment = [s for s in range(len(cuts) + 1) for _ in range(self.starts[s], self.starts[s + 1])]
        self.kept, self.fixed = kept(forward, self.segment, keep), fixed(forward)
        self.again = self._again()
        self.builder = FunctionBuilder(forward.fn)
        self.builder.nodes = list(forward.nodes)
        self.renamed: dict[int, int] = {}
        self.waiting: dict[int, int] = {}

    def run(self) -> Function:
        """Walks the backward pass: before the first node that reads a value of a segment, the segment is computed again."""
        done: set[int] = set()
        since = 0
        for position, node in enumerate(self.forward.backward):
            for segment in sorted({self.segment[self.maker[v]] for v in node.reads if self._is_over(v)} - done):
                done.add(segment)
                token = self._token(since, position)
                since = position
                if token is not None:
                    self._compute(segment, token)
            inputs = tuple(self.renamed.get(v, v) for v in node.inputs)
            self.builder.nodes.append(Node(node.name, node.op, inputs, node.outputs, node.attributes, node.source))
        return self.builder.build(self.forward.fn)

    # -- which nodes

    def _is_over(self, value: int) -> bool:
        """Whether a value is gone when its segment is over."""
        if value not in self.maker or self.forward.base[value] not in self.maker or self.forward.base[value] in self.kept:
            return False
        position = self.maker[value]
        return self.segment[position] < self.segment[-1] and not self.fixed[position]

    def _again(self) -> bytearray:
        """The nodes that stand once more: makers of what the backward pass reads and is gone, and of what those read."""
        again = bytearray(len(self.forward.nodes))

        def want(node: Node) -> None:
            for v in node.reads:
                if self._is_over(v):
                    again[self.maker[v]] = 1

        for node in self.forward.backward:
            want(node)
        for position in range(len(again) - 1, -1, -1):
            if again[position]:
                want(self.forward.nodes[position])
        return again

    # -- when

    def _token(self, since: int, position: int) -> int | None:
        """What the nodes placed before a backward node wait for: the last value of the backward pass until there.

        Not a product that is but the term of a sum, which `accumulate` makes part of the sum; nor a view, which may be
        there much earlier than what stands around it.
        """
        backward = self.forward.backward
        for node in reversed(backward[since:position]):
            if not isinstance(node.op, (ViewOp, ShapeOp)) and not self._is_term(node):
                return node.outputs[0]
        return backward[position - 1].outputs[0] if position else None

    def _is_term(self, node: Node) -> bool:
        return node.op.name == "matmul" and all(
            reader.op.name == "add_n" or isinstance(reader.op, ViewOp) for reader in self.forward.readers.get(node.outputs[0], ())
        )

    # -- computing again

    def _compute(self, segment: int, token: int) -> None:
        self.waiting.clear()
        for position in range(self.starts[segment], self.starts[segment + 1]):
            if self.again[position]:
                self._repeat(self.forward.nodes[position], token)

    def _repeat(self, node: Node, token: int) -> None:
        like = {slot for slot, name in enumerate(node.op.inputs) if name in node.op.shape_only}
        read = [slot for slot, v in enumerate(node.inputs) if v != ABSENT and slot not in like]
        inputs = list(node.inputs)
        for slot in read:
            inputs[slot] = self._source(inputs[slot], token)
        if inputs == list(node.inputs):  # leaves alone: it could be computed at any time
            inputs[read[0]] = self._after(inputs[read[0]], token)
        self.builder.source = node.source
        made = self.builder.add(node.op, tuple(inputs), node.attributes, f"{node.name}.again")
        self.renamed.update((v, again) for v, again in zip(node.outputs, made.outputs, strict=True) if self._is_over(v))

    def _source(self, value: int, token: int) -> int:
        if value in self.renamed or value not in self.maker:
            return self.renamed.get(value, value)
        return self._after(value, token)

    def _after(self, value: int, token: int) -> int:
        if value not in self.waiting:
            name = f"{self.builder.names[value]}.after"
            self.waiting[value] = self.builder.add(registry.get("control_dependency"), (value, token), {}, name).outputs[0]
        return self.waiting[value]
