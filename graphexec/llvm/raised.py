"""raised: what a compiled kernel raised, read from the record that Numba's code leaves.

The record is a struct: the address and the size of a pickle of (class, arguments, place), the addresses of arguments that were
computed and of a function for them, and the number of these. The pickle is a constant of the kernel's code. It is read by an
unpickler that imports and calls nothing: whatever it names or makes becomes an inert object. Computed arguments need an environment
of Numba's that our copy of the code does not have, so they stay unknown here.
"""

from __future__ import annotations

import builtins
import ctypes
import io
import pickle
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from graphexec.abi import LEAST_STATUS, RAISED

MAX_BYTES = 1 << 20
"""A longer pickle is not read: it is none, and the struct is not the one that this module knows."""


class Raised(NamedTuple):
    """An exception that compiled code raised."""

    error: Exception
    known: bool
    """Whether all of its arguments are known; computed ones are `...`."""
    file: str | None
    """The place of a `raise` or `assert`; None for an exception of Numba's own."""
    line: int | None


class _Record(ctypes.Structure):
    """Numba's struct of an exception, in the versions of `numba_internals.SEEN_WITH`."""

    _fields_ = [
        ("text", ctypes.c_void_p), ("size", ctypes.c_int32), ("values", ctypes.c_void_p), ("convert", ctypes.c_void_p),
        ("computed", ctypes.c_int32),
    ]  # fmt: skip


class _Inert:
    """Stands for whatever a pickle names or makes."""

    module, name = "", ""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        """Ignores it."""


class _Reader(pickle.Unpickler):
    """Reads a pickle's structure; runs nothing that it names."""

    def find_class(self, module: str, name: str) -> type[_Inert]:
        return type(name, (_Inert,), {"module": module, "name": name})


def is_raised(status: int) -> bool:
    """Whether a status is an exception."""
    return RAISED < status < LEAST_STATUS


def read(status: int, known: Mapping[str, Any]) -> Raised | None:
    """The exception of a status; ``known`` are the names that its kernel sees. None if the record cannot be read.

    A class is found if it is built in, or stands in ``known`` or in a module that is loaded; otherwise it gets a class of its name.
    """
    record = _Record.from_address(status - RAISED)
    if not record.text or not 0 < record.size <= MAX_BYTES:
        return None
    try:
        kind, arguments, place = _Reader(io.BytesIO(ctypes.string_at(record.text, record.size))).load()
        error = _class(kind, known)(*(... if isinstance(a, _Inert) else a for a in arguments))
        file, line = place[1:] if place else (None, None)
    except Exception:  # damaged, or of a version that this module does not know: the caller has other ways
        return None
    return Raised(error, not record.computed, file, line)


def _class(kind: Any, known: Mapping[str, Any]) -> type[Exception]:
    """The class of an exception: a name in a module or, if the pickle describes the class itself, only a name."""
    described = not isinstance(kind, type)
    name = next(a for a in kind.arguments if isinstance(a, str)) if described else kind.name
    module = "" if described else kind.module
    if module == builtins.__name__:
        known = vars(builtins)
    elif module in sys.modules:
        known = vars(sys.modules[module])
    found = known.get(name)
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    return type(name, (Exception,), {"__module__": module or "__main__"})
