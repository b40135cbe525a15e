"""The body of a fused op: calls of ops on scalars, and the source of each scalar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphexec.ir.op import Op


class ScalarRef(NamedTuple):
    """A loaded operand ("operand", i), a result of a call ("call", i, output), or an attribute that is data ("attribute", i)."""

    kind: str
    index: int  # type: ignore[assignment]  # hides a tuple method that is never called
    output: int = 0


class BodyCall(NamedTuple):
    """An op applied to scalars inside a fused body: passes build it, lowering adds types, code generation reads it.

    Before lowering, ``attributes`` has all of the op's attributes. Lowering turns numeric attributes into data: arguments after
    the operands, with their element types in ``words``; ``attributes`` keeps the others.
    """

    op: Op
    attributes: Mapping[str, Any]
    arguments: tuple[ScalarRef, ...]
    dtype: str = ""
    """The element type in which the op works; empty before lowering."""
    words: tuple[str, ...] = ()
