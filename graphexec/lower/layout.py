"""Layout: the buffer and the view of each value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from graphexec.ir.function import Function, Node
from graphexec.ir.fused.row_schedule import RowSchedule
from graphexec.ir.fused.rowwise import RowwiseOp
from graphexec.ir.registry import registry
from graphexec.ir.spec import TensorSpec, broadcast
from graphexec.ir.view import View


@dataclass
class Layout:
    """The memory of every value.

    ``views`` and ``storage`` are indexed by value id; ``bytes`` and ``constants`` by storage number.

    The storages of leaves come first and are persistent; the others are in the arena. ``steps`` are the nodes that compute,
    including copies.
    """

    fn: Function
    steps: list[Node] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    specs: list[TensorSpec] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    storage: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    persistent: list[bool] = field(default_factory=list)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    checked: bool = False
    """Whether array kernels check their indices."""

    def new_storage(self, nbytes: int, persistent: bool = False) -> int:
        """Adds a storage and returns its number."""
        self.bytes.append(nbytes)
        self.persistent.append(persistent)
        return len(self.bytes) - 1

    def add_contiguous(self, value: int, persistent: bool = False) -> None:
        """Gives a value a storage of its own."""
        spec = self.specs[value]
        self.views[value], self.storage[value] = View.contiguous(spec.shape), self.new_storage(spec.nbytes, persistent)

    def alias(self, value: int, of: int) -> None:
        """Gives a value the memory and the view of another."""
        self.views[value], self.storage[value] = self.views[of], self.storage[of]

    def add_copy(self, source: int, name: str, view: View, storage: int) -> int:
        """Adds a step that copies a value there; the id of the copy."""
        copy = len(self.names)
        self.names.append(name)
        self.specs.append(self.specs[source])
        self.views.append(view)
        self.storage.append(storage)
        self.steps.append(Node(name, registry.get("copy"), (source,), (copy,), {}))
        return copy


def iteration(layout: Layout, node: Node, kept: Iterable[int]) -> tuple[tuple[int, ...], list[int]]:
    """The iteration shape of an elementwise node, and the values it accesses: its operands, then its ``kept`` outputs."""
    values = [*node.inputs, *(node.outputs[k] for k in kept)]
    return broadcast([layout.specs[v].shape for v in values]), values


def row_views(layout: Layout, node: Node) -> tuple[tuple[int, ...], list[View]]:
    """The iteration shape of a rowwise node, and its operands and results as views of that shape."""
    op = node.op
    assert isinstance(op, RowwiseOp)
    shape = op.shape_of([layout.specs[v] for v in node.inputs])
    views = []
    for k, value in enumerate((*node.inputs, *node.outputs)):
        view = layout.views[value]
        result = k - len(node.inputs)
        is_flat = k in op.flat if result < 0 else op.results[result].form == "flat"
        views.append((view.insert(view.ndim) if is_flat else view).broadcast(shape))
    return shape, views


def row_schedule(layout: Layout, node: Node) -> RowSchedule:
    """The schedule of a rowwise node's kernel, which depends on the operands that change along a row."""
    op = node.op
    assert isinstance(op, RowwiseOp)
    _, views = row_views(layout, node)
    return op.plan(tuple(v.strides[-1] == 0 for v in views[: len(node.inputs)]))
