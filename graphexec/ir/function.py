"""Function: the compiler's form of a graph, its nodes in topological order and its values numbered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from graphexec.errors import GraphError, with_hint
from graphexec.ir.op import Op
from graphexec.ir.spec import TensorSpec

ABSENT = -1
"""The number of an optional operand that is not given."""

LEAVES = ("input", "parameter", "constant")
"""Roles of values that no op computes."""


class Node:
    """One application of an op, with operands and results as value numbers. Passes share nodes and never modify them."""

    __slots__ = ("attributes", "inputs", "location", "name", "op", "outputs")

    def __init__(
        self, name: str, op: Op, inputs: tuple[int, ...], outputs: tuple[int, ...], attributes: dict[str, Any],
        location: str | None = None,
    ) -> None:  # fmt: skip
        self.name, self.op, self.inputs, self.outputs = name, op, inputs, outputs
        self.attributes, self.location = attributes, location

    def __repr__(self) -> str:
        return f"{self.name} = {self.op.name}{self.inputs}"

    def with_inputs(self, inputs: tuple[int, ...]) -> Node:
        """The node with other operands."""
        return Node(self.name, self.op, inputs, self.outputs, self.attributes, self.location)

    def with_name(self, name: str) -> Node:
        """The node under another name."""
        return Node(name, self.op, self.inputs, self.outputs, self.attributes, self.location)

    def renumbered(self, numbers: Mapping[int, int]) -> Node:
        """The node with operands renumbered."""
        if not numbers or numbers.keys().isdisjoint(self.inputs):
            return self
        return self.with_inputs(tuple([numbers.get(v, v) for v in self.inputs]))

    def with_numbers(self, numbers: Mapping[int, int]) -> Node:
        """The node with operands and results renumbered."""
        inputs, outputs = (tuple([numbers.get(v, v) for v in values]) for values in (self.inputs, self.outputs))
        return Node(self.name, self.op, inputs, outputs, self.attributes, self.location)

    @property
    def reads(self) -> tuple[int, ...]:
        """The values whose memory the node reads, without shape-only operands."""
        shape_only = self.op.shape_only
        if not shape_only:
            return self.inputs if ABSENT not in self.inputs else tuple(v for v in self.inputs if v != ABSENT)
        return tuple(v for p, v in zip(self.op.inputs, self.inputs, strict=False) if v != ABSENT and p not in shape_only)

    @property
    def update_targets(self) -> tuple[int, ...]:
        """The operands that an update overwrites, in the order of its outputs; empty for other nodes."""
        names = self.op.inputs
        return tuple([self.inputs[names.index(name)] for name in self.op.updates]) if self.op.updates else ()


@dataclass(slots=True)
class Leaf:
    """A value that no op computes: an input, a parameter or a constant."""

    name: str
    role: str
    value_id: int
    shape: tuple[int | str, ...]
    dtype: str
    value: np.ndarray | None = None
    init: str | None = None
    trainable: bool = True
    location: str | None = None


@dataclass(frozen=True)
class Function:
    """A graph in compiler form: leaves, then nodes in topological order, each after the nodes whose results it reads.

    ``names`` and ``specs`` are indexed by value number; ``outputs`` maps names to the values that a run returns; ``gradients``
    and ``deltas``, filled in by `differentiate`, map names to the values that hold each derivative.
    """

    name: str
    leaves: list[Leaf]
    nodes: list[Node]
    names: list[str]
    outputs: dict[str, int]
    specs: list[TensorSpec] = field(default_factory=list)
    gradients: dict[str, int] = field(default_factory=dict)
    deltas: dict[str, int] = field(default_factory=dict)
    saved: dict[int, int] = field(default_factory=dict)
    """For leaves that a run may overwrite before it fails: the values that hold copies from its beginning."""

    def value_id(self, name: str) -> int:
        """Returns the number of a named value. *Raises* GraphError with the nearest name."""
        for index, known in enumerate(self.names):
            if known == name:
                return index
        raise unknown_name(name, self.names)

    def leaf(self, name: str) -> Leaf:
        """Returns a leaf by name. *Raises* GraphError with the nearest name."""
        for leaf in self.leaves:
            if leaf.name == name:
                return leaf
        raise unknown_name(name, [leaf.name for leaf in self.leaves])

    def of_role(self, role: str) -> list[Leaf]:
        """The leaves of one role; `LEAVES` lists the roles."""
        return [leaf for leaf in self.leaves if leaf.role == role]

    @cached_property
    def ops(self) -> frozenset[Op]:
        """The ops of its nodes. A pass checks these first, and returns immediately if it rewrites none of them."""
        return frozenset([node.op for node in self.nodes])

    @property
    def live_out(self) -> list[int]:
        """Values that can be read after a run."""
        return [*self.outputs.values(), *self.gradients.values(), *self.deltas.values(), *self.saved.values()]

    def with_nodes(self, nodes: list[Node], **changes: Any) -> Function:
        """The function with other nodes, and other fields replaced by ``changes``."""
        return replace(self, nodes=nodes, **changes)

    def renumbered(self, numbers: Mapping[int, int]) -> dict[str, dict[str, int]]:
        """Renumbers ``outputs``, ``gradients`` and ``deltas``; pass the result to `with_nodes` as changes."""
        named = {"outputs": self.outputs, "gradients": self.gradients, "deltas": self.deltas}
        return {kind: {name: numbers.get(v, v) for name, v in values.items()} for kind, values in named.items()}


class RunHook:
    """A function of a higher level that a pass needs; importing the package sets it."""

    run: Callable[[Function, Mapping[str, np.ndarray]], tuple[np.ndarray, ...]]
    """The outputs of a function for given inputs, computed once by kernels."""

    checks: ContextVar[bool] = ContextVar("checks", default=False)

    @contextmanager
    def checking(self, checked: bool = True) -> Iterator[None]:
        """Within it, array kernels check their indices, and their memory is looked at."""
        token = self.checks.set(checked)
        try:
            yield
        finally:
            self.checks.reset(token)


RUN_HOOK = RunHook()


def value_name(node: str, output: int) -> str:
    """The name of a node's output: the node's own for the first, ``node:1`` for the second."""
    return node if output == 0 else f"{node}:{output}"


def unknown_name(name: str, known: Iterable[str]) -> GraphError:
    """The error for a name that no value has, with the nearest known name."""
    return GraphError(with_hint(f"there is no value named {name!r}", name, known), todo="See `graphexec show`.")
