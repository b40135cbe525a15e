"""Source: an opened file of arrays, and the errors that reading one ends in."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from graphexec.errors import DataError, GraphExecError, with_hint
from graphexec.ir.function import Leaf
from graphexec.system_errors import unreadable

Array = np.ndarray


class Source:
    """A file that holds one array, or several by name."""

    single = True
    """Whether the file holds one array, without a name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Returns the names of the arrays."""
        return []

    def has(self, name: str) -> bool:
        """Whether the file has an array of that name."""
        return name in self.names()

    def where(self, name: str | None = None) -> str:
        """Returns the place of an array for errors: ``file:name``."""
        return str(self.path) if name is None else f"{self.path}:{name}"

    def whole(self, leaf: Leaf) -> Array:
        """Reads the only array of the file. *Raises* DataError if it has several."""
        raise NotImplementedError

    def array(self, name: str, leaf: Leaf) -> Array:
        """Reads the array of that name. *Raises* DataError with the nearest name."""
        raise NotImplementedError

    def unknown(self, name: str, what: str = "array") -> DataError:
        """Builds the error for an unknown name, with the nearest known one."""
        return DataError(
            with_hint(f"the file has no {what} {name!r}", name, self.names()),
            source=str(self.path),
            todo=f"Its {what}s are: {', '.join(self.names()) or 'none'}.",
        )


@contextlib.contextmanager
def reading(path: Path, where: str | None = None) -> Iterator[None]:
    """Turns whatever the block raises into a DataError with the file.

    Damaged bytes make zipfile, zlib, csv and NumPy raise almost anything: struct.error, RuntimeError, TypeError, zlib.error, ...
    """
    try:
        yield
    except GraphExecError:
        raise
    except Exception as error:
        raise _broken(path, where or str(path), error) from error


def _broken(path: Path, where: str, error: Exception) -> DataError:
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a damaged zip file leads to impossible places
        return unreadable(where, error)
    if isinstance(error, MemoryError):
        return DataError("the file does not fit into memory", source=where, todo="Use a smaller file.")
    if isinstance(error, UnicodeDecodeError) and path.suffix.lower() == ".csv":
        return DataError("the file is not UTF-8 text", source=where, todo="Save it as UTF-8.")
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            return DataError("the file is empty", source=where, todo="Write it again.")
    kind = path.suffix.lower()
    todo = {".npy": "Write it again with np.save.", ".npz": "Write it again with np.savez."}.get(kind, "Make every cell a number.")
    return DataError(
        f"the file is truncated or not {'a' if kind == '.csv' else 'an'} {kind} file",
        source=where,
        facts=[f"{type(error).__name__}: {str(error)[:200]}"],
        todo=todo,
    )


def require_memory(count: int, where: str) -> None:
    """*Raises* DataError if an array of ``count`` bytes does not fit into the memory that is free."""
    free = free_memory()
    if free is not None and count > free:
        raise DataError(
            f"the array takes {_size(count)}, and {_size(free)} of memory are free",
            source=where,
            todo="Use a smaller array, or store it uncompressed and in the input's type: such a file is mapped, not read.",
        )


def free_memory() -> int | None:
    """Returns the number of bytes that can be taken without swapping; None if the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/meminfo", encoding="ascii") as stream:
        for line in stream:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _size(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count / 2**20:.3g} MiB"
