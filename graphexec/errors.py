"""The exception tree, and the one place that formats error messages.

    GraphExecError
    ├── GraphError            a malformed graph: missing operand, unknown name, bad edit
    │   └── CycleError        the graph is not acyclic; lists the cycle
    ├── ShapeError            incompatible shapes
    ├── OutOfMemoryError      sizes that need more memory than there is
    ├── DtypeError            incompatible element types
    ├── OpError               unknown op or attribute, wrong number of operands
    │   ├── NotComputedError  a graph value where Python needs a number: `bool(x)`, `float(x)`, `in`
    │   └── OutOfRangeError   an index that no element of a graph value has
    ├── DifferentiationError  a value that no gradient reaches, an op without a backward rule
    ├── GradientMismatch      a gradient that differs from central differences
    ├── PluginError           a rejected op declaration or plugin file
    ├── GraphFileError        an unreadable graph file; carries file and line
    ├── DataError             missing, unreadable or wrongly sized input arrays
    ├── KernelError           a kernel reported an error while it ran
    └── DivergenceError       training whose loss or parameters are no longer finite

Every message has four parts: where (node, op, file and line), what broke, the facts (operands with shapes and
dtypes), and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

_LONGEST_COMPARED = 100
"""Words longer than this are not compared: the comparison takes quadratic time."""

_NAMES_COMPARED = 20_000
"""Maximum number of names that are compared with a misspelled one, which takes a tenth of a second."""


class GraphExecError(Exception):
    """Base of all errors that graphexec raises; the module docstring shows the tree.

    ``what`` says what broke, ``facts`` are lines about the operands, ``todo`` says what to do, and ``node``, ``op``
    and ``source`` (file and line) say where. A function that does not know its node or file omits them; its caller
    adds them with :meth:`at`.
    """

    def __init__(
        self,
        what: str,
        *,
        facts: Iterable[str] = (),
        todo: str | None = None,
        node: str | None = None,
        op: str | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.facts, self.todo = what, list(facts), todo
        self.node, self.op, self.source = node, op, source

    def at(self, *, node: str | None = None, op: str | None = None, source: str | None = None) -> GraphExecError:
        """Fills in the parts of the location that are still unknown, and returns the error."""
        if self.node is None:
            self.node = node
        if self.op is None:
            self.op = op
        if self.source is None:
            self.source = source
        return self

    @property
    def where(self) -> str:
        """The location as text: node, op, file and line, as far as they are known."""
        details = [part for part in (self.op and f"op {self.op!r}", self.source) if part]
        if self.node is None:
            return ", ".join(details)
        return f"node {self.node!r}" + (f" ({', '.join(details)})" if details else "")

    def __str__(self) -> str:
        first = f"{self.where}: {self.what}" if self.where else self.what
        lines = [first, *(f"  {fact}" for fact in self.facts)]
        if self.todo:
            lines.append(f"  {self.todo}")
        return "\n".join(lines)


class GraphError(GraphExecError):
    """A malformed graph."""


class CycleError(GraphError):
    """The graph has a cycle; the facts list its nodes, and so does ``nodes``."""

    nodes: Sequence[str] = ()


class ShapeError(GraphExecError):
    """Incompatible shapes."""


class OutOfMemoryError(GraphExecError, MemoryError):
    """The sizes of a graph need more memory than there is."""


class DtypeError(GraphExecError):
    """Incompatible element types."""


class OpError(GraphExecError):
    """An unknown op or attribute, or a wrong number of operands."""


class UnknownOpError(OpError, AttributeError):
    """No op has that name. Also an AttributeError, so that ``hasattr(gx.ops, name)`` returns False."""


class NotComputedError(OpError, TypeError):
    """Python asks for the elements of a graph value, which has none before it is computed. Also a TypeError, as Python expects."""


class OutOfRangeError(OpError, IndexError):
    """An index is out of range, or there are too many. Also an IndexError, as Python expects."""


class DifferentiationError(GraphExecError):
    """A value that no gradient reaches, or an op without a backward rule."""


class GradientMismatch(GraphExecError):
    """A gradient that differs from central differences."""


class PluginError(GraphExecError):
    """A rejected op declaration or plugin file."""


class GraphFileError(GraphExecError):
    """An unreadable graph file."""


class DataError(GraphExecError):
    """Input data that is missing, unreadable or of the wrong size."""


class UnknownNameError(DataError, KeyError):
    """No input or parameter has that name. Also a KeyError, so that ``parameters.get(name)`` returns None."""


class KernelError(GraphExecError):
    """A kernel reported an error while the program ran.

    ``operand`` and ``index`` say which value it did not accept, and at which element or row, if that is known.
    """

    operand: str | None = None
    index: tuple[int, ...] | None = None


class DivergenceError(GraphExecError):
    """Training diverged: its loss, or a parameter, is NaN or infinite. ``epoch`` and ``batch`` count from 1."""

    def __init__(self, what: str, *, epoch: int, batch: int, facts: Iterable[str] = (), **location: str | None) -> None:
        super().__init__(what, facts=facts, **location)
        self.epoch, self.batch = epoch, batch

    def __reduce__(self) -> tuple[Any, ...]:
        """Python would call the class without the epoch, and a worker's error would not arrive."""
        return partial(type(self), epoch=self.epoch, batch=self.batch), self.args, vars(self)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ``"did you mean 'x'?"`` for the nearest known word, or ``""`` if none is near."""
    word = str(word)
    if len(word) > _LONGEST_COMPARED:
        return ""
    candidates = [k for k in map(str, islice(known, _NAMES_COMPARED)) if len(k) <= 3 * len(word)]
    near = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def with_hint(what: str, word: str, known: Iterable[str]) -> str:
    """Appends the nearest known word, if any, to ``what``: ``"unknown op 'sofmax'; did you mean 'softmax'?"``."""
    hint = did_you_mean(word, known)
    return f"{what}; {hint}" if hint else what
