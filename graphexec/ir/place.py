"""place: lines of the files that users write, to which errors point."""

from __future__ import annotations

import linecache
import os
import sys
from types import TracebackType
from typing import NamedTuple


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int

    @property
    def text(self) -> str:
        linecache.checkcache(self.file)
        return linecache.getline(self.file, self.line).strip()


def is_users(file: object) -> bool:
    """Whether a file is one that a user may have written, rather than Numba's, NumPy's or the engine's."""
    if not isinstance(file, str):
        return False
    packages = [getattr(sys.modules.get(name), "__file__", None) for name in ("numba", "numpy")]
    folders = [os.path.dirname(os.path.dirname(__file__)), *(os.path.dirname(package) for package in packages if package)]
    return not any(os.path.abspath(file).startswith(folder + os.sep) for folder in folders)


def told(error: BaseException, declared: str) -> str:
    """The innermost line of a user's file at which an exception was raised, as a fact; if there is none, where it is declared."""
    found = innermost(error.__traceback__)
    return f"declared in {declared}" if found is None else f"{found.file}:{found.line}: {found.text}"


def innermost(trace: TracebackType | None) -> Place | None:
    """The innermost line of a user's file in a traceback."""
    found = None
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if is_users(file):
            found = Place(file, trace.tb_lineno)
        trace = trace.tb_next
    return found
