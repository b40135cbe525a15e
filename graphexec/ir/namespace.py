"""`ops`: gives access to ops by name, as attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from graphexec.errors import OpError, UnknownOpError
from graphexec.ir.op import Op

if TYPE_CHECKING:
    from graphexec.ir._builtin_ops import BuiltinOps
else:
    BuiltinOps = object


class Ops(BuiltinOps):
    """The ops by name: ``ops.matmul(a, b)``. Each is looked up on use, so that an op file may use ops that are loaded later.

    Type checkers know the built-in ops, with their operands and attributes. They do not know a plugin's ops: write
    ``ops["name"]`` for those.
    """

    def __init__(self) -> None:
        self._find: Callable[[str], Op] | None = None

    def connect(self, find: Callable[[str], Op], names: Callable[[], list[str]]) -> None:
        """Sets the functions that find an op and list the names; the registry is a level above."""
        self._find, self._names = find, names

    def __getitem__(self, name: str) -> Op:
        """Returns the op of that name. *Raises* OpError with the nearest known name."""
        assert self._find is not None, "import graphexec before ops are called"
        return self._find(name)

    if not TYPE_CHECKING:  # a type checker would otherwise accept any name

        def __getattr__(self, name: str) -> Op:
            if name.startswith("_"):
                raise AttributeError(name)
            try:
                return self[name]
            except OpError as error:
                raise UnknownOpError(error.what, facts=error.facts, todo=error.todo) from None

    def __dir__(self) -> list[str]:
        return self._names()


ops = Ops()
