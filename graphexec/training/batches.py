"""Batches: a data set as programs read it, and the nodes that take the next rows of it.

Instructions select the rows of the next mini-batch (`take_batch`), so that a native loop can run a program for one batch after the
other. A program for whole batches and one for the remaining rows share the order of the rows, and a cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphexec.compiled import Compiled
from graphexec.errors import DataError
from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import Function, Node
from graphexec.ir.infer import infer
from graphexec.ir.registry import registry
from graphexec.ir.spec import Size, Sizes, shape_text
from graphexec.runtime.runner import Runner
from graphexec.training.data.rows import Rows

More = Callable[[FunctionBuilder, int], None]
"""Adds nodes that run after those of the graph, for a number of rows."""


class Batches:
    """A data set, its batches, and the programs that run on them. *Raises* DataError if arrays do not fit, or without rows."""

    def __init__(self, compiled: Compiled, data: Mapping[str, Any], batch_size: int | None) -> None:
        self.compiled = compiled
        self.index: np.ndarray | None = data.index if isinstance(data, Rows) else None
        self.dimension, rows, self.arrays = _rows(compiled, data.arrays if isinstance(data, Rows) else data)
        self.rows = rows if self.index is None else len(self.index)
        if self.rows == 0:
            raise DataError("the data is empty", todo="Give at least one row.")
        whole_number = isinstance(batch_size, (int, np.integer)) and not isinstance(batch_size, bool)
        if batch_size is not None and not (whole_number and batch_size >= 1):
            raise DataError(f"batch_size={batch_size!r} is not a whole number from 1", todo="Give the number of rows of a batch.")
        self.size = self.rows if batch_size is None else min(int(batch_size), self.rows)
        self.order = np.arange(self.rows, dtype=np.int64) if self.index is None else self.index.copy()
        """The rows, in the order in which batches take them."""
        self.cursor = np.zeros((), np.int64)

    @property
    def steps(self) -> int:
        """The number of batches; the last one may be smaller."""
        return -(-self.rows // self.size)

    def rewind(self) -> None:
        """Begins again with the first batch."""
        self.cursor[...] = 0

    def runners(self, fn: Function, buffers: Mapping[str, np.ndarray], more: More | None = None) -> list[tuple[Runner, int]]:
        """Lowers a function for whole batches and for the rest; returns the runners, each with its number of batches."""
        whole, rest = divmod(self.rows, self.size)
        return [(self.runner(fn, n, buffers, more), times) for n, times in ((self.size, whole), (rest, 1)) if n and times]

    def runner(self, fn: Function, batch: int, buffers: Mapping[str, np.ndarray], more: More | None = None) -> Runner:
        """Lowers a function for batches of a number of rows. ``buffers`` are the arrays of additional leaves."""
        sized = self.function(fn, batch, more)
        fixed = {"epoch.order": self.order, "epoch.cursor": self.cursor}
        program = self.compiled.lower(sized, {**self.arrays, **fixed, **buffers})
        return self.compiled.runner_of(program, sized, {})

    def function(self, fn: Function, batch: int, more: More | None = None) -> Function:
        """The function with nodes that take its inputs from the data and move the cursor."""
        nodes, moved = self._take_nodes(fn, batch)
        builder = FunctionBuilder(moved)
        builder.nodes = nodes + list(fn.nodes)
        if more is not None:
            more(builder, batch)
        cursor = next((leaf.value_id for leaf in moved.leaves if leaf.name == "epoch.cursor"), None)
        if cursor is not None:
            builder.add(registry.get("advance"), (cursor,), {"by": batch}, "epoch.next")
        return infer(builder.build(moved), Sizes(self.sizes(batch)))

    def sizes(self, batch: int) -> dict[str, int]:
        """The sizes of named dimensions for a number of rows."""
        sizes: dict[str, int] = {}
        for name, leaf in self.compiled.inputs.items():
            array = self.arrays[name] if name in self.arrays else self.arrays[f"epoch.data.{name}"]
            sizes.update({n: s for n, s in zip(leaf.shape, array.shape, strict=True) if isinstance(n, str)})
        return sizes if self.dimension is None else {**sizes, self.dimension: batch}

    def _take_nodes(self, fn: Function, batch: int) -> tuple[list[Node], Function]:
        """Returns nodes that copy a batch of the data into the inputs, and the function whose leaves are the data instead."""
        builder = FunctionBuilder(fn)
        builder.leaves = []
        nodes: list[Node] = []
        taken = [leaf for leaf in fn.leaves if leaf.role == "input" and f"epoch.data.{leaf.name}" in self.arrays]
        rest = [leaf for leaf in fn.leaves if leaf not in taken]
        if taken:
            order = builder.leaf("epoch.order", "parameter", (self.rows,), "int64")
            cursor = builder.leaf("epoch.cursor", "parameter", (), "int64")
            op = registry.get("take_batch")
        for leaf in taken:
            data = self.arrays[f"epoch.data.{leaf.name}"]
            source = builder.leaf(f"epoch.data.{leaf.name}", "parameter", data.shape, leaf.dtype)
            attributes = {"batch": Size(batch, self.dimension or "batch")}
            nodes.append(Node(leaf.name, op, (source, order, cursor), (leaf.value_id,), attributes))
        return nodes, fn.with_nodes(fn.nodes, leaves=[*rest, *builder.leaves], names=builder.names, specs=builder.specs)


def _rows(compiled: Compiled, data: Mapping[str, Any]) -> tuple[str | None, int, dict[str, np.ndarray]]:
    """Returns the dimension split into mini-batches, the number of rows, and the arrays in the form that programs read."""
    given = compiled.arrays(data)
    compiled.bind(given)  # raises if an input is missing or does not fit
    leading = {leaf.shape[0] for leaf in compiled.inputs.values() if leaf.shape and isinstance(leaf.shape[0], str)}
    if len(leading) > 1:
        raise DataError(
            f"inputs have different leading dimensions: {', '.join(map(repr, sorted(leading)))}",
            facts=[f"{n}{shape_text(leaf.shape)}" for n, leaf in compiled.inputs.items()],
            todo="Give the axis of samples the same name in every input.",
        )
    arrays, rows = {}, 1
    for name, leaf in compiled.inputs.items():
        array = given[name]
        if not (array.flags.c_contiguous and array.flags.aligned):
            array = np.array(array, order="C")
        batched = bool(leaf.shape) and leaf.shape[0] in leading
        arrays[f"epoch.data.{name}" if batched else name] = array
        rows = array.shape[0] if batched else rows
    return (next(iter(leading)) if leading else None), rows, arrays
