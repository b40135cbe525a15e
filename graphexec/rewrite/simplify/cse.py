"""merge: what is computed twice is computed once.

Nodes of one op with the same attributes and the same operands give the same values; the later ones go, and what read them
reads the first. It runs after differentiation, because δ at each of two equal values is its own; the backward pass repeats
much anyway, such as transposing one weight for every product that it is in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphexec.ir.aliases import Updates
from graphexec.ir.function import Function, Leaf, Node
from graphexec.ir.keys import freeze
from graphexec.rewrite.simplify.constant_folding import LARGEST

COMMUTATIVE = ("add", "multiply")
"""Ops that give the same for operands the other way round; only which NaN a NaN is may differ."""


def cse(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order without nodes, and small constants, that repeat earlier ones; those in ``keep`` stay."""
    updates, kept = Updates(fn), set(keep)
    first: dict[Any, tuple[int, ...]] = {}
    renamed: dict[int, int] = {}
    over: set[int] = set()  # what has been written over by now

    def repeats(key: Any, values: tuple[int, ...]) -> bool:
        """Whether values have been computed before, and go."""
        found = first.setdefault(key, values)
        if found is values or any(v in kept for v in values):
            return False
        renamed.update(zip(values, found, strict=True))
        return True

    own = updates.written  # memory that an update writes over is of one value
    leaves = [f for f in fn.leaves if _is_large(f) or f.value_id in own or not repeats(_constant(f), (f.value_id,))]
    nodes = []
    for node in fn.nodes:
        node = node.renumbered(renamed)
        if node.op.updates:
            over.update(updates.targets(node))
        elif own.isdisjoint(node.outputs) and not (over and any(updates.base(v) in over for v in node.inputs)):
            if repeats(_node(node), node.outputs):
                continue
        nodes.append(node)
    return fn.with_nodes(nodes, leaves=leaves, **fn.renumbered(renamed))


def _node(node: Node) -> Any:
    inputs = tuple(sorted(node.inputs)) if node.op.name in COMMUTATIVE else node.inputs
    return node.op, inputs, freeze(node.attributes) if node.attributes else None


def _is_large(leaf: Leaf) -> bool:
    """Whether a leaf is no constant, or one that is not worth comparing."""
    return leaf.kind != "constant" or leaf.value is None or leaf.value.size > LARGEST


def _constant(leaf: Leaf) -> Any:
    return leaf.dtype, leaf.shape, np.asarray(leaf.value, leaf.dtype).tobytes()
