"""cache: compiled kernels on disk: object code and scalar functions, under names that hash everything they depend on.

The cache is a private folder (0700) of this user; `GRAPHEXEC_CACHE_DIR` moves it. A file is trusted only if it is a regular file of
this user that nobody else may write to, and carries the checksum of its own name and content: a damaged file, or a sound one under
another name, counts as missing. Files appear whole or not at all. If the folder cannot be used, there is one warning and nothing is
cached.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import warnings
from pathlib import Path

from graphexec.atomic_file import replacing
from graphexec.system_errors import cause_of

_MAGIC = b"graphexec kernel 2\n"
_HEAD = len(_MAGIC) + hashlib.sha256().digest_size


@functools.cache
def directory() -> Path | None:
    """The cache folder, created if necessary; None, after one warning, if it cannot be used safely."""
    base: Path | None = None
    try:
        base = _chosen()
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = base.stat()
        if _foreign(status):
            raise PermissionError("it belongs to another user, or others may write to it")
        if not os.access(base, os.W_OK | os.X_OK):
            raise PermissionError("it is not writable")
    except OSError as error:
        place = "" if base is None else f"{base}: "
        reason = "it is not a folder" if isinstance(error, FileExistsError) else cause_of(error, writing=True).what
        warnings.warn(
            f"graphexec: kernels are not cached: {place}{reason}. Set GRAPHEXEC_CACHE_DIR to a private folder.", stacklevel=2
        )
        return None
    return base


def _chosen() -> Path:
    """`GRAPHEXEC_CACHE_DIR`, else the user's cache folder. *Raises* OSError if the user has no home directory."""
    given = os.environ.get("GRAPHEXEC_CACHE_DIR")
    if given:
        return Path(os.path.abspath(given))  # the program may change its working folder
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if shared.is_absolute():  # the XDG specification: others are ignored
        return shared / "graphexec"
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and a user id without an entry, as in a container
        home = Path()
    if not home.is_absolute():
        raise OSError("the user has no home directory")
    return home / ".cache" / "graphexec"


def _foreign(status: os.stat_result) -> bool:
    """Whether another user owns a file or may write to it."""
    return hasattr(os, "getuid") and (status.st_uid != os.getuid() or bool(status.st_mode & 0o022))


def read(name: str) -> bytes | None:
    """The content stored under a name; None if there is none, or none that can be trusted."""
    folder = directory()
    if folder is None:
        return None
    try:
        content = _content(folder / name)
    except OSError:
        return None
    if content[:_HEAD] != _head(name, content[_HEAD:]):
        return None
    return content[_HEAD:]


def _content(path: Path) -> bytes:
    """The content of a regular file of this user. *Raises* OSError for anything else, and never waits for a pipe's writer."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or _foreign(status):
            raise PermissionError("not a regular file that only this user writes")
        return file.read()


def _head(name: str, payload: bytes) -> bytes:
    """The mark of our files, and the checksum that binds a content to its name."""
    return _MAGIC + hashlib.sha256(name.encode() + b"\0" + payload).digest()


def write(name: str, payload: bytes) -> None:
    """Stores a file completely or not at all."""
    folder = directory()
    if folder is None:
        return
    try:
        _clear(folder / name)
        with replacing(folder / name, durable=False) as file:
            file.write(_head(name, payload) + payload)
    except OSError as error:
        _warn_once(f"{folder / name}: {cause_of(error, writing=True).what}")


def _clear(path: Path) -> None:
    """Removes what stands in a file's place: a link, a pipe, a file that others may write to; moves a full folder aside."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        if not stat.S_ISREG(status.st_mode) or _foreign(status):
            path.unlink()
        return
    with contextlib.suppress(OSError):
        path.rmdir()
        return
    path.rename(path.with_name(f"{path.name}.aside-{os.urandom(4).hex()}"))


@functools.cache
def _warn_once(reason: str) -> None:
    warnings.warn(f"graphexec: a kernel was not cached: {reason}", stacklevel=3)
