"""Says in a sentence what the operating system refused, and what to do about it.

Every place that reads or writes a file turns an OSError into one of the library's errors here, so that each cause has the same
words wherever it appears.
"""

from __future__ import annotations

import errno
import os
import stat
from os import PathLike
from typing import NamedTuple, TypeVar

from graphexec.errors import DataError, GraphExecError

Path_ = str | PathLike[str]
Error = TypeVar("Error", bound=GraphExecError)


class Cause(NamedTuple):
    """What happened, and what to do."""

    what: str
    todo: str


NO_FILE = "no such file"
_ELSEWHERE = "Write to another place."

CAUSES: dict[int, Cause] = {
    errno.ENOENT: Cause(NO_FILE, "Check the path."),
    errno.EACCES: Cause("permission denied", "Change the permissions of the file and its folder, or choose another path."),
    errno.EPERM: Cause("the system does not permit it", "Check the owner and the attributes of the file and its folder."),
    errno.EROFS: Cause("the file system is read-only", _ELSEWHERE),
    errno.EISDIR: Cause("this is a directory", "Give the path of a file."),
    errno.ENOTDIR: Cause("a part of the path is a file, not a folder", "Check the path."),
    errno.ENAMETOOLONG: Cause("the name is too long for the file system", "Choose a shorter name."),
    errno.ELOOP: Cause("its symbolic links form a circle", "Correct the links, or give the file itself."),
    errno.EEXIST: Cause("it exists already", "Choose another name."),
    errno.ENOSPC: Cause("the disk is full", "Free some space, or write to another disk."),
    errno.EDQUOT: Cause("the disk quota is used up", "Delete files, or write to another disk."),
    errno.EFBIG: Cause("the file would be larger than the system allows", "Raise the limit (ulimit -f), or write to another disk."),
    errno.EMFILE: Cause("this process has too many files open", "Close some, or raise the limit (ulimit -n)."),
    errno.ENFILE: Cause("the system has too many files open", "Close other programs, or raise the system's limit."),
    errno.ENOMEM: Cause("the system has no memory left", "Close other programs, or use less data."),
    errno.EIO: Cause("the device reported an input/output error", "Check the disk or the network drive."),
    errno.ESTALE: Cause("the network drive no longer knows the file", "Mount the drive again."),
    errno.ETIMEDOUT: Cause("the network drive does not answer", "Check the network, then try again."),
    errno.EBUSY: Cause("another program uses it", "Close that program, then try again."),
    errno.ETXTBSY: Cause("it is a program that is running", "Choose another path."),
    errno.ENXIO: Cause("no device or reader is at the other end", "Choose another path."),
    errno.ENODEV: Cause("there is no such device", "Choose another path."),
    errno.EPIPE: Cause("nobody reads the other end of the pipe", "Keep the reading program running."),
    errno.EBADF: Cause("it is closed", "Keep it open, or write to a file."),
    errno.EINVAL: Cause("the file system does not accept the name or the operation", _ELSEWHERE),
}
"""What each error number means."""

_WRITING = {errno.ENOENT: Cause("its folder does not exist", "Create the folder, or choose another path.")}


def cause_of(error: BaseException, *, writing: bool = False) -> Cause:
    """What an OSError means; also a ValueError, which Python raises for a null character in a path."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, ValueError) and "null" in str(error):
        return Cause("the path holds a null character", "Check the path.")
    known = (_WRITING.get(number) if writing else None) or CAUSES.get(number) if number is not None else None
    return known or Cause(getattr(error, "strerror", None) or str(error) or type(error).__name__, "Check the path.")


def unwritable(path: Path_, error: BaseException, kind: type[Error] = DataError, *, needed: int | None = None) -> Error:  # type: ignore[assignment]
    """The error for a file or folder that cannot be written; ``needed`` is its size in bytes, if known."""
    what, todo = cause_of(error, writing=True)
    facts = _space(path, needed) if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) else []
    return kind(f"it cannot be written: {what}", source=os.fspath(path), facts=facts, todo=todo)


def unreadable(path: Path_, error: BaseException, kind: type[Error] = DataError) -> Error:  # type: ignore[assignment]
    """The error for a file that cannot be read."""
    what, todo = cause_of(error)
    missing = getattr(error, "errno", None) in (errno.ENOENT, errno.EISDIR)
    return kind(what if missing else f"it cannot be read: {what}", source=os.fspath(path), todo=todo)


def require_file(path: Path_, kind: type[Error] = DataError, todo: str = "Check the path.") -> None:  # type: ignore[assignment]
    """*Raises* an error of this kind unless a regular file, or a link to one, is at ``path``."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        found = unreadable(path, error, kind)
        if getattr(error, "errno", None) == errno.ENOENT:
            dangling = os.path.islink(path)
            found.what, found.todo = "this link points to nothing" if dangling else NO_FILE, todo
        raise found from error
    if not stat.S_ISREG(mode):
        what = "this is a directory" if stat.S_ISDIR(mode) else "this is not a regular file"
        raise kind(what, source=os.fspath(path), todo=todo)


def _space(path: Path_, needed: int | None) -> list[str]:
    """Lines on the space that a file needs and that its disk has."""
    facts = [] if needed is None else [f"needed: {size_text(needed)}"]
    folder = os.path.dirname(os.path.realpath(path))
    if not hasattr(os, "statvfs") or (os.path.exists(path) and not os.path.isfile(path)):  # a device has no free space
        return facts
    try:
        free = os.statvfs(folder)
    except OSError:
        return facts
    return [*facts, f"free: {size_text(free.f_bavail * free.f_frsize)} in {folder}"]


def size_text(count: int) -> str:
    """A number of bytes in the largest unit that gives at least 1: ``1.5 MB``."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} bytes"
