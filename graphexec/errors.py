"""The exception tree, and the one place where error messages are put together.

    GraphExecError
    ├── GraphError            a graph that is not well formed: missing operand, unknown name, bad edit
    │   └── CycleError        the graph is not acyclic; lists the cycle
    ├── ShapeError            shapes that do not fit together
    ├── DtypeError            element types that do not fit together
    ├── OpError               unknown op or attribute, wrong number of operands
    ├── DifferentiationError  a value that no gradient reaches, an op without a backward rule
    ├── GradientMismatch      a gradient that differs from central differences
    ├── PluginError           an op declaration or plugin file that is refused
    ├── GraphFileError        a graph file that cannot be read; carries file and line
    ├── DataError             input arrays that are missing, of the wrong size, or unreadable
    └── KernelError           a kernel reported an error while it ran

Every message has four parts: where (node, op, file and line), what broke, the facts (operands with shapes and
dtypes), and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GraphExecError(Exception):
    """Base of all errors that graphexec raises; see the module for the tree.

    ``what`` says what broke, ``facts`` are lines about the operands, ``todo`` says what to do, and ``node``, ``op``
    and ``source`` (file and line) say where. A function that does not know where it is called from raises without
    them, and the caller adds them with :meth:`at`.
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
        """This error, with the places that it did not know yet filled in."""
        if self.node is None:
            self.node = node
        if self.op is None:
            self.op = op
        if self.source is None:
            self.source = source
        return self

    @property
    def where(self) -> str:
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
    """A graph that is not well formed."""


class CycleError(GraphError):
    """The graph has a cycle; the facts list its nodes."""


class ShapeError(GraphExecError):
    """Shapes that do not fit together."""


class DtypeError(GraphExecError):
    """Element types that do not fit together."""


class OpError(GraphExecError):
    """An unknown op or attribute, or a wrong number of operands."""


class UnknownOpError(OpError, AttributeError):
    """No op has that name. An AttributeError too, as ``hasattr(gx.ops, name)`` asks for."""


class DifferentiationError(GraphExecError):
    """A gradient that cannot be written."""


class GradientMismatch(GraphExecError):
    """A gradient that differs from central differences."""


class PluginError(GraphExecError):
    """An op declaration or a plugin file that is refused."""


class GraphFileError(GraphExecError):
    """A graph file that cannot be read."""


class DataError(GraphExecError):
    """Input data that is missing, unreadable or of the wrong size."""


class KernelError(GraphExecError):
    """A kernel reported an error while the program ran."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"did you mean 'x'?"`` for the nearest known word, or ``""``."""
    near = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def with_hint(what: str, word: str, known: Iterable[str]) -> str:
    """``what``, and the nearest known word where there is one: ``"unknown op 'sofmax'; did you mean 'softmax'?"``."""
    hint = did_you_mean(word, known)
    return f"{what}; {hint}" if hint else what
