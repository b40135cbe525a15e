"""Patterns of small elementwise nodes: the kinds of nodes that `superinstructions` merges, and of pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from graphexec.ir.function import Function, Node
from graphexec.ir.fused.elementwise import FusedOp, fused_op
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.keys import freeze, spec_key
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.spec import Size, TensorSpec
from graphexec.rewrite.fusion.scheduler import MAX_OPERANDS

MIN_SMALL_NODES = 300
"""Minimum number of small nodes for passes over them to pay off."""
MAX_SMALL_ELEMENTS = 256
"""Elements of a small node, at most."""
MAX_MERGED_CALLS = 12
"""Calls in one op: longer ones are rarely frequent."""


def are_small(fn: Function) -> list[bool]:
    """For each node, whether it is elementwise with a declared, small number of elements."""
    by_spec = {id(s): s is not None and _is_small(s) for s in {id(s): s for s in fn.specs}.values()}  # few, often shared
    return [isinstance(n.op, ElementwiseOp) and by_spec[id(fn.specs[n.outputs[0]])] for n in fn.nodes]


def _is_small(spec: TensorSpec) -> bool:
    return spec.size <= MAX_SMALL_ELEMENTS and not any(isinstance(n, Size) for n in spec.shape)


class Pattern(NamedTuple):
    """The body of a fused op, whatever it works on."""

    calls: tuple[BodyCall, ...]
    operands: int
    results: tuple[ScalarRef, ...]
    updated: tuple[int, ...]
    """Slots of the operands that the first results overwrite."""


class Pair(NamedTuple):
    """A kind of pair: two kinds of nodes, and how the first feeds the second."""

    first: int
    second: int
    """Kinds of the two nodes."""
    links: tuple[int, ...]
    """For each operand of the second the result of the first that it is, or -1."""
    stored: tuple[bool, ...]
    """For each result of the first, whether it is live after the second."""


class Kinds:
    """The kind of each node: its op with its attributes and the specs that it works on."""

    def __init__(self, fn: Function, small: Sequence[bool]) -> None:
        self.patterns: list[Pattern] = []
        self.shapes: list[tuple[int, ...]] = []
        """By kind, as `patterns`: the shape over which its nodes iterate."""
        self._matches: dict[tuple[int, int], bool] = {}
        numbers: dict[Any, int] = {}
        shared = {id(s): s for s in fn.specs}  # few: equal specs are interned
        by_identity = {key: numbers.setdefault(spec_key(s), len(numbers)) for key, s in shared.items()}
        spec = [by_identity[id(s)] for s in fn.specs]
        found: dict[Any, int] = {}
        self.of: list[int] = []
        """By node; -1 for one that cannot be merged."""
        for node, is_small in zip(fn.nodes, small, strict=True):
            if not is_small:
                self.of.append(-1)
                continue
            attributes = freeze(node.attributes) if node.attributes else None
            key = (node.op, attributes, *[spec[v] for v in node.inputs], *[spec[v] for v in node.outputs])
            kind = found.get(key)
            if kind is None:
                shape = fn.specs[node.outputs[0]].shape
                kind = found[key] = self.add(_pattern(node), shape) if _can_be_merged(node.op) else -1
            self.of.append(kind)

    def match(self, a: int, b: int) -> bool:
        """Whether two nodes of these kinds can be merged."""
        known = self._matches.get((a, b))
        if known is None:
            can = a >= 0 and b >= 0 and self.shapes[a] == self.shapes[b] and _fits(self.patterns[a], self.patterns[b])
            known = self._matches[a, b] = can
        return known

    def add(self, pattern: Pattern, shape: tuple[int, ...]) -> int:
        self.patterns.append(pattern)
        self.shapes.append(shape)
        return len(self.patterns) - 1


def _can_be_merged(op: Op) -> bool:
    return not (op.variadic or op.optional or op.shape_only or (isinstance(op, FusedOp) and op.closings))


def _pattern(node: Node) -> Pattern:
    op = node.op
    assert isinstance(op, ElementwiseOp)
    updated = tuple(op.inputs.index(name) for name in op.updates)
    if isinstance(op, FusedOp):
        return Pattern(op.calls, len(op.inputs), op.results, updated)
    call = BodyCall(op, node.attributes, tuple(ScalarRef("operand", k) for k in range(len(node.inputs))))
    return Pattern((call,), len(node.inputs), tuple(ScalarRef("call", 0, k) for k in range(len(node.outputs))), updated)


def _fits(a: Pattern, b: Pattern) -> bool:
    return not a.updated and len(a.calls) + len(b.calls) <= MAX_MERGED_CALLS and a.operands + b.operands <= MAX_OPERANDS


def joined(a: Pattern, b: Pattern, pair: Pair) -> Pattern:
    """The calls of the first, then those of the second; operands and results likewise, after the updated ones."""
    places: list[ScalarRef] = []
    operands = a.operands
    for link in pair.links:
        if link >= 0:
            places.append(a.results[link])
        else:
            places.append(ScalarRef("operand", operands))
            operands += 1

    def moved(source: ScalarRef) -> ScalarRef:
        if source.kind == "operand":
            return places[source.index]
        return ScalarRef("call", source.index + len(a.calls), source.output)

    calls = tuple(c._replace(arguments=tuple(map(moved, c.arguments))) for c in b.calls)
    stored = tuple(r for r, also in zip(a.results, pair.stored, strict=True) if also)
    own = tuple(map(moved, b.results))
    n = len(b.updated)
    updated = tuple(places[k].index for k in b.updated)
    return Pattern(a.calls + calls, operands, (*own[:n], *stored, *own[n:]), updated)


def structure(pattern: Pattern) -> Any:
    """A pattern as a key."""
    calls = tuple((c.op, freeze(c.attributes), c.arguments) for c in pattern.calls)
    return (calls, *pattern[1:])


def fused(pattern: Pattern) -> FusedOp:
    """A pattern as an op."""
    updates = tuple(f"x{k}" for k in pattern.updated)
    return fused_op(pattern.calls, pattern.operands, pattern.results, updates)
