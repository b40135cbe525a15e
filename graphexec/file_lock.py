"""Locks that the system releases when their process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from graphexec.errors import DataError
from graphexec.system_errors import unwritable

LOCK = "lock"
"""Name of a locked folder's file."""


def take(handle: int, *, wait: bool) -> bool | None:
    """Locks an open file; returns whether it is ours now, or None if the system or the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a network drive without locks
        return None
    return True


@contextlib.contextmanager
def locked(folder: str | PathLike[str]) -> Iterator[None]:
    """Keeps other processes from using a folder, which is created if necessary, until the block ends or this process does.

    *Raises* DataError, which names the other process, if one uses the folder; also if the folder cannot be written.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = _own(place / LOCK, place)
    except OSError as error:
        raise unwritable(place, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (place / LOCK).unlink()
        os.close(handle)
        with contextlib.suppress(OSError):
            place.rmdir()  # unless something was saved


def _own(file: Path, folder: Path) -> int:
    """Opens and locks the file; a lock on a file that its last owner has just removed would keep nobody out."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)
        ours = take(handle, wait=False)
        owner = os.pread(handle, 1000, 0).decode("utf-8", "replace").strip()
        if ours is False or (ours is None and _lives(owner)):
            os.close(handle)
            raise DataError(
                "another process trains into this folder",
                source=str(folder),
                facts=[f"it is {owner}"] if owner else [],
                todo="Wait until it ends, or use another folder.",
            )
        if _is_at(handle, file):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
            return handle
        os.close(handle)


def _is_at(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(file))
    except FileNotFoundError:
        return False


def _lives(owner: str) -> bool:
    """Whether a lock's text names a process that may live; asked only where the file system has no locks."""
    _, _, rest = owner.partition(" ")
    number, _, host = rest.partition(" on ")
    if host != platform.node() or not number.isdigit():
        return bool(owner)
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return int(number) != os.getpid()
