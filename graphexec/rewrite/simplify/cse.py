"""cse: computes once what a function computes twice (common subexpression elimination).

Nodes of one op with the same attributes and operands give the same values: the later ones go, and their readers read the
first. It runs after differentiation, because each of two equal values has a delta of its own; the backward pass repeats much
anyway, such as the transposition of a weight for each product that it is a factor of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphexec.ir.aliases import Aliases
from graphexec.ir.function import Function, Leaf, Node
from graphexec.ir.keys import freeze
from graphexec.rewrite.simplify.constant_folding import MAX_CONSTANT_ELEMENTS


def cse(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function without nodes, and small constants, that repeat earlier ones; those in ``live_out`` stay."""
    aliases, stay = Aliases(fn), set(live_out)
    first: dict[Any, tuple[int, ...]] = {}
    renamed: dict[int, int] = {}
    overwritten: set[int] = set()  # by the nodes walked so far

    def repeats(key: Any, values: tuple[int, ...]) -> bool:
        """Whether values have been computed before, and can go."""
        found = first.setdefault(key, values)
        if found is values or any(v in stay for v in values):
            return False
        renamed.update(zip(values, found, strict=True))
        return True

    own = aliases.written.keys()  # memory that an update writes over belongs to one value
    leaves = [f for f in fn.leaves if not _is_comparable(f) or f.value_id in own or not repeats(_constant(f), (f.value_id,))]
    nodes = []
    for node in fn.nodes:
        node = node.renumbered(renamed)
        if node.op.updates:
            overwritten.update(aliases.targets(node))
        elif own.isdisjoint(node.outputs) and not (overwritten and any(aliases.base(v) in overwritten for v in node.inputs)):
            if repeats(_node(node), node.outputs):
                continue
        nodes.append(node)
    return fn.with_nodes(nodes, leaves=leaves, **fn.renumbered(renamed))


def _node(node: Node) -> Any:
    inputs = tuple(sorted(node.inputs)) if node.op.commutative else node.inputs
    return node.op, inputs, freeze(node.attributes) if node.attributes else None


def _is_comparable(leaf: Leaf) -> bool:
    """Whether a leaf is a constant that is small enough to compare."""
    return leaf.role == "constant" and leaf.value is not None and leaf.value.size <= MAX_CONSTANT_ELEMENTS


def _constant(leaf: Leaf) -> Any:
    return leaf.dtype, leaf.shape, np.asarray(leaf.value, leaf.dtype).tobytes()
