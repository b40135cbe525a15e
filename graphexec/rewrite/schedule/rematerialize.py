"""rematerialize: recomputes forward values for the backward pass instead of keeping them in memory.

The forward pass is cut into segments. Values that cross a cut, that is, that a later segment reads, stay in memory; the
others die with their segment. Before the backward pass of a segment its nodes are duplicated, and compute what that pass
needs from what stayed: n layers in √n segments hold √n boundaries and √n layers at a time, for at most one more forward pass.
The backward pass starts with the last segment, so that one is not recomputed.

No pass may move a duplicate ahead of the deltas that it waits for, or merge it with the original: its operands pass through
`control_dependency`, which waits for the backward pass of the segment behind it.
Source: Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.op_kinds import ShapeOp, ViewOp
from graphexec.ir.registry import registry
from graphexec.ir.traits import is_product
from graphexec.options import Request
from graphexec.rewrite.schedule.checkpoint_segments import Forward, fixed, live_across
from graphexec.rewrite.simplify.dce import dce


def rematerialize(fn: Function, nodes: Iterable[Node], request: Request, live_out: Sequence[int]) -> Function:
    """A differentiated function in which its forward pass, ``nodes``, is computed again segment by segment.

    Values in ``live_out`` stay. Takes time in proportion to the number of nodes.
    """
    own = set(map(id, nodes))
    fn = dce(fn, live_out)
    forward = Forward(fn, sum(id(node) in own for node in fn.nodes))
    cuts = forward.cuts(request)
    return Rematerialization(forward, cuts, live_out).run() if cuts else fn


class Rematerialization:
    def __init__(self, forward: Forward, cuts: Sequence[int], live_out: Sequence[int]) -> None:
        self.forward, self.maker = forward, forward.maker
        self.starts = [0, *cuts, len(forward.nodes)]
        self.segment = [s for s in range(len(cuts) + 1) for _ in range(self.starts[s], self.starts[s + 1])]
        self.live_across, self.fixed = live_across(forward, self.segment, live_out), fixed(forward)
        self.again = self._again()
        self.builder = FunctionBuilder(forward.fn)
        self.builder.nodes = list(forward.nodes)
        self.renamed: dict[int, int] = {}
        self.waiting: dict[int, int] = {}

    def run(self) -> Function:
        """Walks the backward pass, and puts each segment again before the first node that reads one of its dead values."""
        done: set[int] = set()
        since = 0
        for position, node in enumerate(self.forward.backward):
            for segment in sorted({self.segment[self.maker[v]] for v in node.reads if self.is_over(v)} - done):
                done.add(segment)
                token = self._token(since, position)
                since = position
                if token is not None:
                    self._compute(segment, token)
            self.builder.nodes.append(node.renumbered(self.renamed))
        return self.builder.build(self.forward.fn)

    # -- which nodes

    def is_over(self, value: int) -> bool:
        """Whether a value dies with its segment."""
        base = self.forward.base(value)
        if value not in self.maker or base not in self.maker or base in self.live_across:
            return False
        position = self.maker[value]
        return self.segment[position] < self.segment[-1] and not self.fixed[position]

    def _again(self) -> bytearray:
        """Marks the nodes to duplicate: makers of dead values that the backward pass reads, and of those that they read in turn."""
        again = bytearray(len(self.forward.nodes))

        def want(node: Node) -> None:
            for v in node.reads:
                if self.is_over(v):
                    again[self.maker[v]] = 1

        for node in self.forward.backward:
            want(node)
        for position in range(len(again) - 1, -1, -1):
            if again[position]:
                want(self.forward.nodes[position])
        return again

    # -- when

    def _token(self, since: int, position: int) -> int | None:
        """The value that nodes put before a backward node wait for: the last one that the backward pass computes before it.

        Not a product that is only the term of a sum, which `gemm_accumulate` makes part of the sum; nor a view, which may
        exist much earlier than its neighbours.
        """
        backward = self.forward.backward
        for node in reversed(backward[since:position]):
            if not isinstance(node.op, (ViewOp, ShapeOp)) and not self._is_term(node):
                return node.outputs[0]
        return backward[position - 1].outputs[0] if position else None

    def _is_term(self, node: Node) -> bool:
        """Whether a node is a product whose only readers are sums and views."""
        if not is_product(node.op):
            return False
        readers = (self.forward.fn.nodes[p].op for p in self.forward.uses.readers[node.outputs[0]])
        return all(op.sum_of_many or isinstance(op, ViewOp) for op in readers)

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
        if inputs == list(node.inputs):  # it reads only leaves, and could be computed at any time
            inputs[read[0]] = self._after(inputs[read[0]], token)
        self.builder.location = node.location
        made = self.builder.add(node.op, tuple(inputs), node.attributes, f"{node.name}.again")
        self.renamed.update((v, again) for v, again in zip(node.outputs, made.outputs, strict=True) if self.is_over(v))

    def _source(self, value: int, token: int) -> int:
        if value in self.renamed or value not in self.maker:
            return self.renamed.get(value, value)
        return self._after(value, token)

    def _after(self, value: int, token: int) -> int:
        if value not in self.waiting:
            name = f"{self.builder.names[value]}.after"
            self.waiting[value] = self.builder.add(registry.get("control_dependency"), (value, token), {}, name).outputs[0]
        return self.waiting[value]
