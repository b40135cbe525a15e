"""Writes files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from os import PathLike
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """A temporary file beside ``path`` to write to; it replaces the file at ``path`` when the block ends, unless with an error.

    A link stays, and the file that it points to is replaced. Permissions stay as they were. *Raises* OSError.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}.tmp")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # with the permissions of any new file
    try:
        yield temporary
        _flush(temporary)
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o777)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _flush(path: Path) -> None:
    """Forces the content to the disk: after a power failure a replaced file must not be an empty one."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
