"""failure: the error for a kernel that reported one, in the user's terms.

A kernel returns only a number, which may stand for an exception (`llvm.raised`). Its plain function runs again on the same
operands, which stand in memory, and notes what it reads: the element that it read last, before it gave up, is the one to show.
Nodes inside a composite op are named by the node that the user wrote, and the values that only such nodes know are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphexec.errors import KernelError
from graphexec.ir.function import Function, Node
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import array_spec
from graphexec.ir.place import Place, innermost, is_users
from graphexec.ir.spec import TensorSpec, shape_text
from graphexec.llvm.raised import is_raised, read
from graphexec.lower.program import Program
from graphexec.runtime import repeat

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


def kernel_error(
    program: Program, fn: Function, node: Node, status: int, origin: Origin, limit: float | None = None
) -> KernelError:
    """The error for a status that a node's kernel returned; its cause is the exception, if the kernel raised one.

    Operands of up to ``limit`` elements are read again, by default `repeat.MAX_REPEATED`.
    """
    limit = repeat.MAX_REPEATED if limit is None else limit
    arrays = [_memory(program, v) for v in node.inputs]
    cause: Exception | None = None
    told: list[str] = []
    if status in node.op.errors or (isinstance(node.op, KernelOp) and status != -1 and not is_raised(status)):
        what = node.op.errors.get(status) or f"the kernel failed with status {status}"
    else:
        cause, what, told = _exception(node, status, arrays, limit)
    culprit = _culprit(node, arrays, limit, cause)
    error = located(KernelError(what, facts=told, todo="Check the values of its operands."), fn, node, origin, culprit)
    error.__cause__ = cause
    return error


def located(error: KernelError, fn: Function, node: Node, origin: Origin, culprit: Culprit | None = None) -> KernelError:
    """The error with the node that the user wrote, its operands, and the element at which it gave up."""
    name, op = _users_node(node, origin)
    for k, v in enumerate(node.inputs):
        if not 0 <= v < len(fn.names) or (name != node.name and fn.names[v].startswith(f"{name}.")):
            continue
        parameter = node.op.input_name(k)
        error.facts.append(f"{parameter} = {fn.names[v]!r}   {_described(fn.specs[v])}")
        if culprit is not None and culprit.parameter == parameter:
            place = f"[{', '.join(map(str, culprit.at))}]" if culprit.at else ""
            error.facts.append(f"{fn.names[v]}{place} = {culprit.shown}")
            error.operand, error.index = fn.names[v], culprit.at
    error.at(node=name, op=op, source=node.location)
    return error


def _described(spec: TensorSpec) -> str:
    """A spec with the sizes of named dimensions."""
    shape = tuple(int(n) for n in spec.shape)
    return f"{spec}" if str(spec) == str(spec._replace(shape=shape)) else f"{spec}, now {shape_text(shape)}"


def _exception(
    node: Node, status: int, arrays: Sequence[np.ndarray | None], limit: float
) -> tuple[Exception | None, str, list[str]]:
    """The exception that a kernel raised, what to say of it, and the user's line as a fact."""
    known = getattr(node.op.function, "__globals__", {})
    told = read(status, known) if is_raised(status) else None
    again = repeat.exception(node, arrays, limit)
    if again is not None and told is not None and type(again).__name__ != type(told.error).__name__:
        again = None  # plain Python stumbles over something else
    place = innermost(again.__traceback__) if again is not None else None
    if told is not None and told.file and told.line and is_users(told.file):
        place = Place(told.file, told.line)
    cause = again or (told.error if told is not None else None)
    if cause is None:
        return None, f"{kernel_of(node)} raised an exception", []
    text = str(cause) if again is not None or told is None or told.known else _with_gaps(cause)
    what = f"{kernel_of(node)} raised {type(cause).__name__}" + (f": {text}" if text else "")
    return cause, what, [f"{place.file}:{place.line}: {place.text}"] if place is not None else []


def kernel_of(node: Node) -> str:
    """How to speak of a node's kernel: the user wrote one node, which has a backward kernel as well."""
    return "its backward kernel" if node.op.forward is not None else "its kernel"


def _with_gaps(error: Exception) -> str:
    """The text of an exception some of whose arguments are known to compiled code only."""
    return ", ".join("..." if a is ... else str(a) for a in error.args)


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


def _culprit(node: Node, arrays: Sequence[np.ndarray | None], limit: float, cause: Exception | None) -> Culprit | None:
    """Runs the plain kernel on operands that note what is read; None if that shows nothing."""
    op = node.op
    rows_moved = isinstance(op, KernelOp) and op.core is not None and "axis" in node.attributes
    if not isinstance(op, KernelOp) or op.variadic or rows_moved or sum(a.size for a in arrays if a is not None) > limit:
        return None
    reads: list[tuple[str, int]] = []
    try:
        watched = [None if a is None else Watched(p, a, np.arange(a.size).reshape(a.shape), reads)
                   for p, a in zip(op.inputs, arrays, strict=True)]  # fmt: skip
        _give_up(op, watched, node)
    except Exception as error:  # what is looked for, or something that the plain function cannot do with a watched array
        if type(error) is not type(cause):
            return None
    else:
        if cause is not None:
            return None
    if not reads:
        return None
    parameter, position = reads[-1]
    array = arrays[op.inputs.index(parameter)]
    if array is None:
        return None
    return _shown(op, parameter, array, tuple(int(i) for i in np.unravel_index(position, array.shape)))


def _give_up(op: KernelOp, operands: Sequence[Any], node: Node) -> None:
    """Calls the plain kernel until it reports an error."""
    specs = op.infer([None if w is None else w.spec for w in operands], node.attributes)
    results = [np.empty(tuple(int(n) for n in s.shape), s.dtype) for s in specs]
    wanted = [k for k, p in enumerate(op.inputs) if p not in op.shape_only and operands[k] is not None]
    extra = ([0] if op.scratch else []) + ([0, 1] if op.parallel else [])
    function = repeat.plain(op.function)
    with np.errstate(all="ignore"):
        if op.core is None:
            function(*(operands[k] for k in wanted), *results, *extra, **node.attributes)
            return
        batch = results[0].shape[: results[0].ndim - len(op.core[len(op.inputs)])]
        for index in np.ndindex(batch):
            rows = [operands[k].row(index, len(op.core[k])) for k in wanted]
            written = [r[index] if r.ndim > len(index) else r[(*index, ...)] for r in results]
            if function(*rows, *written, *extra, **node.attributes):
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
