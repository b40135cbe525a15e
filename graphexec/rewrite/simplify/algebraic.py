"""Algebraic identities: nodes that give one of their operands unchanged. `constant_folding` asks here as it walks.

The identities hold for every number, NaN, infinities and -0.0 among them. So x + 0.0 stays, which turns -0.0 into 0.0, and
x * 0, which is NaN where x is not finite.
Source: IEEE 754-2019, sections 6.2 (NaN) and 6.3 (the sign of a zero).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphexec.ir.aliases import Aliases
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.keys import freeze, spec_key
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ViewOp
from graphexec.ir.spec import TensorSpec
from graphexec.ir.view import NotAView, View


class Identities:
    """Finds the operand that a node gives unchanged, for the nodes of a function in their order.

    ``numbers`` has the values that are known to be one number everywhere; what a view shows of one is added to it.
    """

    def __init__(self, fn: Function, aliases: Aliases, live_out: set[int], numbers: dict[int, np.ndarray]) -> None:
        self.specs, self.aliases, self.live_out, self.numbers = fn.specs, aliases, live_out, numbers
        self.ops: set[Op] = {op for op in fn.ops if isinstance(op, ViewOp) or _may_be_identity(op)}
        """The ops of nodes that are worth asking about."""
        self._shown: dict[int, tuple[int, View]] = {}  # for each view the value that it shows, and how
        self._views: dict[Any, View | None] = {}
        self._applied: dict[int, tuple[Op, Any, int]] = {}  # for results of involutions: op, attributes, operand

    def unchanged(self, node: Node) -> int | None:
        """The operand that a node gives as it is; None where there is none, or the node's result needs memory of its own."""
        out, is_view = node.outputs[0], isinstance(node.op, ViewOp)
        same = self._seen_through(node, node.op) if isinstance(node.op, ViewOp) else self._operand(node)
        if same is None or out in self.live_out or spec_key(self.specs[same]) != spec_key(self.specs[out]):
            return None
        # a copy of what an update writes over, or itself written over, has memory of its own for a reason
        return None if not is_view and (self.aliases.is_written(same) or self.aliases.is_written(out)) else same

    def _operand(self, node: Node) -> int | None:
        """The same for an elementwise node, whatever its shapes are."""
        op, x = node.op, node.inputs[0]
        if op.neutral:
            return self._other_than_neutral(node, op.neutral)
        if op.involution:
            key = (op, freeze(node.attributes))
            self._applied[node.outputs[0]] = (*key, x)
            inner = self._applied.get(x)
            return inner[2] if inner is not None and inner[:2] == key else None
        return x

    def _other_than_neutral(self, node: Node, neutral: Mapping[int, float]) -> int | None:
        return next((node.inputs[1 - slot] for slot, number in neutral.items() if self._is(node.inputs[slot], number)), None)

    def _is(self, value: int, number: float) -> bool:
        known = self.numbers.get(value)
        return known is not None and known.tobytes() == np.asarray(number, known.dtype).tobytes()

    def _seen_through(self, node: Node, op: ViewOp) -> int | None:
        """The value that a view shows whole and in its order, through any number of views between."""
        x, out = node.inputs[0], node.outputs[0]
        if x in self.numbers:
            self.numbers[out] = self.numbers[x]
        if op.ordered_after:
            return None
        base, view = self._shown.get(x, (x, None))
        specs = [None if v == ABSENT else self.specs[v] for v in node.inputs]
        key = (op, view, *map(spec_key, specs), freeze(node.attributes))  # views of many values are alike
        if key not in self._views:
            self._views[key] = _applied(op, view or View.contiguous(self.specs[x].shape), specs, node.attributes)
        view = self._views[key]
        if view is None:
            return None
        self._shown[out] = base, view
        return base if view.shape == self.specs[base].shape and view.is_contiguous else None


def _may_be_identity(op: Op) -> bool:
    if op.neutral:
        return len(op.inputs) == 2 and not op.variadic
    return op.involution or op.identity_function


def _applied(op: ViewOp, view: View, specs: Sequence[TensorSpec | None], attributes: Mapping[str, Any]) -> View | None:
    try:
        return op.view(view, specs, attributes)
    except NotAView:  # it is a view of a copy, which layout assignment makes
        return None
