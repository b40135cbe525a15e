"""cache: compiled kernels on disk: object code and scalar functions, under names that hash everything they depend on.

The cache is a private folder (0700) of this user; `GRAPHEXEC_CACHE_DIR` moves it. Each file carries a checksum and is written under
a temporary name, then renamed, so that a reader sees all of it or nothing. If the folder cannot be written, there is one warning
and nothing is cached.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
import warnings
from pathlib import Path

_MAGIC = b"graphexec kernel 1\n"


@functools.cache
def directory() -> Path | None:
    """The cache folder, created if necessary; None, after one warning, if it cannot be used safely."""
    given = os.environ.get("GRAPHEXEC_CACHE_DIR")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graphexec"
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = base.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            raise PermissionError("it belongs to another user, or others may write to it")
        if not os.access(base, os.W_OK | os.X_OK):
            raise PermissionError("it is not writable")
    except OSError as error:
        warnings.warn(
            f"graphexec: kernels are not cached: {base}: {error}. Set GRAPHEXEC_CACHE_DIR to a private folder.", stacklevel=2
        )
        return None
    return base


def read(name: str) -> bytes | None:
    """The content stored under a name; None if there is none or it is damaged."""
    folder = directory()
    if folder is None:
        return None
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + 32
    if not content.startswith(_MAGIC) or hashlib.sha256(content[head:]).digest() != content[len(_MAGIC) : head]:
        return None
    return content[head:]


def write(name: str, payload: bytes) -> None:
    """Stores a file completely or not at all."""
    folder = directory()
    if folder is None:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(payload).digest() + payload)
            os.replace(temporary, folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        _warn_once(str(error))


@functools.cache
def _warn_once(reason: str) -> None:
    warnings.warn(f"graphexec: a kernel was not cached: {reason}", stacklevel=3)
