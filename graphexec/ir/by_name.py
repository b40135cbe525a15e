"""ByName: an object that is one of its kind in a process: copies are the object itself, and another process finds its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Self = TypeVar("Self", bound="ByName")


class ByName:
    """A base class for ops. The registry, a level above, installs how they are found."""

    def __reduce__(self) -> tuple[Any, ...]:
        return REDUCE_HOOK.reduced(self)

    def __copy__(self: Self) -> Self:
        return self

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self


class ReduceHook:
    """The function that says how another process finds an op; importing the package sets it."""

    reduced: Callable[[Any], tuple[Any, ...]]


REDUCE_HOOK = ReduceHook()
