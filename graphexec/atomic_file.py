"""Writes files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import IO

from graphexec import file_lock

PREFIX, SUFFIX = ".graphexec-", ".tmp"
"""What the names of temporary files begin and end with."""

_unfinished: set[Path] = set()
_searched: set[Path] = set()


@contextlib.contextmanager
def replacing(path: str | PathLike[str], *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A stream to a temporary file beside ``path``, which replaces the file there when the block ends, unless with an error.

    A new file has the permissions of any new file; an old one's owner and permissions stay. A link stays, and the file that it
    points to is replaced. A device or a pipe is written to as it is. ``durable`` forces the content to the disk first: after
    a power failure a replaced file must not be an empty one. Temporary files of processes that were killed are removed.

    *Raises* OSError.
    """
    target = Path(os.path.realpath(path))
    found = _status(target)
    if found is not None and not stat.S_ISREG(found.st_mode):
        with open(target, "wb") as special:  # IsADirectoryError for a folder
            yield special
        return
    _remove_stale(target.parent)
    temporary, stream = _create(target.parent)
    try:
        with stream:
            yield stream
            stream.flush()
            if found is not None:
                _take_after(stream.fileno(), found)
            if durable:
                os.fsync(stream.fileno())
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    finally:
        _unfinished.discard(temporary)


def require_writable(path: str | PathLike[str]) -> None:
    """*Raises* OSError if `replacing` cannot replace ``path``: a check before long work, not a promise."""
    target = Path(os.path.realpath(path))
    found = _status(target)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if found is None or stat.S_ISREG(found.st_mode):
        if not stat.S_ISDIR(target.parent.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        _require_access(target.parent)
    if found is not None:
        _require_access(target)


def _require_access(path: Path) -> None:
    if not os.access(path, os.W_OK):
        readonly = hasattr(os, "statvfs") and os.statvfs(path).f_flag & os.ST_RDONLY
        number = errno.EROFS if readonly else errno.EACCES
        raise OSError(number, os.strerror(number))


def abandon() -> None:
    """Removes the temporary files of this process: for a process that is about to end without running its `finally` blocks."""
    for temporary in list(_unfinished):
        with contextlib.suppress(OSError):
            temporary.unlink()


def _remove_stale(folder: Path) -> None:
    """Removes, once, the temporary files that killed processes left in a folder: those that nobody has locked."""
    if folder in _searched:
        return
    _searched.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX):
                with contextlib.suppress(OSError):
                    _remove_if_stale(entry.path)


def _remove_if_stale(path: str) -> None:
    handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode) and file_lock.take(handle, wait=False):
            os.unlink(path)
    finally:
        os.close(handle)


def _create(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new temporary file, locked for as long as it is open, so that nobody takes it for a stale one."""
    while True:
        temporary = folder / f"{PREFIX}{os.urandom(6).hex()}{SUFFIX}"
        _unfinished.add(temporary)
        try:
            stream = open(temporary, "xb")
        except BaseException:
            _unfinished.discard(temporary)
            raise
        file_lock.take(stream.fileno(), wait=True)
        if os.fstat(stream.fileno()).st_nlink:
            return temporary, stream
        stream.close()  # another process removed it before it was locked
        _unfinished.discard(temporary)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _take_after(handle: int, old: os.stat_result) -> None:
    """Gives a file the owner, if the system allows it, and the permissions of the one that it replaces."""
    if hasattr(os, "fchown"):
        with contextlib.suppress(OSError):
            os.fchown(handle, old.st_uid, old.st_gid)
        os.fchmod(handle, old.st_mode & 0o777)
