"""`ops`: the ops by name, as attributes."""

from __future__ import annotations

from collections.abc import Callable

from graphexec.errors import OpError, UnknownOpError
from graphexec.ir.op import Op


class Ops:
    """The ops by name: ``ops.matmul(a, b)``. Found when asked for, so that an op file may use ops loaded later."""

    def __init__(self) -> None:
        self._find: Callable[[str], Op] | None = None

    def connect(self, find: Callable[[str], Op], names: Callable[[], list[str]]) -> None:
        self._find, self._names = find, names

    def __getattr__(self, name: str) -> Op:
        if name.startswith("_"):
            raise AttributeError(name)
        assert self._find is not None, "import graphexec before ops are called"
        try:
            return self._find(name)
        except OpError as error:
            raise UnknownOpError(error.what, facts=error.facts, todo=error.todo) from None

    def __dir__(self) -> list[str]:
        return self._names()


ops = Ops()
