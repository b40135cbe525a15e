"""failure: the error for a kernel that reported one, in the user's terms.

A kernel returns only a number. Its plain function runs again on the same operands, which stand in memory, and notes what it
reads: the element that it read last, before it gave up, is the one to show. Nodes inside a composite op are named by the node that
the user wrote, and the values that only such nodes know are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphexec.errors import KernelError
from graphexec.ir.function import Function, Node
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import array_spec
from graphexec.lower.program import Program

MAX_REPEATED = 1_000_000
"""Operands with more elements are not read again: plain Python takes a second for so many."""

MAX_SHOWN = 8
"""A row of up to this size is shown whole."""

Origin = Callable[[str], str | None]
"""Maps the name of a node of the user's graph to its op, and other names to None."""


def no_origin(name: str) -> None:
    """Knows no node: programs that no user wrote."""


class Culprit(NamedTuple):
    """The element at which a kernel gave up: an operand's parameter, a multi-index, and what stands there."""

    parameter: str
    at: tuple[int, ...]
    shown: str


def kernel_error(program: Program, fn: Function, node: Node, status: int, origin: Origin) -> KernelError:
    """The error for a status that a node's kernel returned."""
    message = node.op.errors.get(status) or f"the kernel failed with status {status}"
    name, op = _users_node(node, origin)
    arrays = [_memory(program, v) for v in node.inputs]
    culprit = _culprit(node, arrays)
    facts = []
    for parameter, v, array in zip(node.op.inputs, node.inputs, arrays, strict=False):
        if array is None or (name != node.name and fn.names[v].startswith(f"{name}.")):
            continue
        facts.append(f"{parameter} = {fn.names[v]!r}   {fn.specs[v]}")
        if culprit is not None and culprit.parameter == parameter:
            facts.append(f"{fn.names[v]}[{', '.join(map(str, culprit.at))}] = {culprit.shown}")
    error = KernelError(message, node=name, op=op, source=node.location, facts=facts, todo="Check the values of its operands.")
    if culprit is not None:
        error.operand, error.index = fn.names[node.inputs[node.op.inputs.index(culprit.parameter)]], culprit.at
    return error


def _users_node(node: Node, origin: Origin) -> tuple[str, str]:
    """The node that the user wrote: this one, or the composite whose name begins its name."""
    parts = node.name.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        op = origin(name)
        if op is not None:
            return name, op
    return node.name, node.op.name


def _memory(program: Program, value: int) -> np.ndarray | None:
    if not 0 <= value < len(program.layout.specs):
        return None
    return program.array(value)


def _culprit(node: Node, arrays: Sequence[np.ndarray | None]) -> Culprit | None:
    """Runs the plain kernel on operands that note what is read; None if that shows nothing."""
    op = node.op
    rows_moved = isinstance(op, KernelOp) and op.core is not None and "axis" in node.attributes
    if not isinstance(op, KernelOp) or op.variadic or rows_moved or sum(a.size for a in arrays if a is not None) > MAX_REPEATED:
        return None
    reads: list[tuple[str, int]] = []
    try:
        watched = [None if a is None else Watched(p, a, np.arange(a.size).reshape(a.shape), reads)
                   for p, a in zip(op.inputs, arrays, strict=True)]  # fmt: skip
        _give_up(op, watched, node)
    except Exception:  # the plain function may do what a watched array cannot
        return None
    if not reads:
        return None
    parameter, position = reads[-1]
    array = arrays[op.inputs.index(parameter)]
    assert array is not None
    return _shown(op, parameter, array, tuple(int(i) for i in np.unravel_index(position, array.shape)))


def _give_up(op: KernelOp, operands: Sequence[Any], node: Node) -> None:
    """Calls the plain kernel until it reports an error."""
    specs = op.infer([None if w is None else w.spec for w in operands], node.attributes)
    results = [np.empty(tuple(int(n) for n in s.shape), s.dtype) for s in specs]
    wanted = [k for k, p in enumerate(op.inputs) if p not in op.shape_only]
    extra = ([0] if op.scratch else []) + ([0, 1] if op.parallel else [])
    with np.errstate(all="ignore"):
        if op.core is None:
            op.function(*(operands[k] for k in wanted), *results, *extra, **node.attributes)
            return
        batch = results[0].shape[: results[0].ndim - len(op.core[len(op.inputs)])]
        for index in np.ndindex(batch):
            rows = [operands[k].row(index, len(op.core[k])) for k in wanted]
            written = [r[index] if r.ndim > len(index) else r[(*index, ...)] for r in results]
            if op.function(*rows, *written, *extra, **node.attributes):
                return


def _shown(op: KernelOp, parameter: str, array: np.ndarray, index: tuple[int, ...]) -> Culprit:
    """The element at an index; if the kernel works on rows that are short, the row."""
    core = len(op.core[op.inputs.index(parameter)]) if op.core is not None else 0
    row = index[: array.ndim - core]
    if core and array[row].size <= MAX_SHOWN:
        return Culprit(parameter, row, str(array[row].tolist()))
    return Culprit(parameter, index, str(array[index].item()))


class Watched:
    """An array that notes which of its elements is read."""

    def __init__(self, name: str, array: np.ndarray, positions: np.ndarray, reads: list[tuple[str, int]]) -> None:
        self.name, self.array, self.positions, self.reads = name, array, positions, reads

    @property
    def spec(self) -> Any:
        return array_spec(self.array)

    def row(self, batch: tuple[int, ...], core: int) -> Watched:
        """The part of the last ``core`` axes at an index of the leading ones, which are broadcast."""
        own = self.array.ndim - core
        index = tuple(0 if n == 1 else i for i, n in zip(batch[len(batch) - own :], self.array.shape, strict=False))
        return Watched(self.name, self.array[index], self.positions[index], self.reads)

    def __getitem__(self, index: Any) -> Any:
        found, positions = self.array[index], self.positions[index]
        if np.ndim(positions) == 0:
            self.reads.append((self.name, int(positions)))
            return found
        return Watched(self.name, found, positions, self.reads)

    def reshape(self, *shape: Any) -> Watched:
        return Watched(self.name, self.array.reshape(*shape), self.positions.reshape(*shape), self.reads)

    @property
    def flat(self) -> Watched:
        return self.reshape(-1)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __getattr__(self, name: str) -> Any:  # shape, size, ndim, dtype
        return getattr(self.array, name)
