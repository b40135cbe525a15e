"""shipped: archives of LLVM IR and of object code that the package brings, so that a first start need not make them again.

An archive is used only if what it was made with, its comment, is what would make its members now; a damaged or missing one counts
as empty. `python tests/shipped_code.py` writes them.
"""

from __future__ import annotations

import functools
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

PLACEHOLDER = "graphexec_shipped_function"
"""Stands in an archive for the symbol of a member's function."""


class Archive:
    """A zip file of texts or bytes; ``made_with`` describes what their content depends on beside their names."""

    def __init__(self, path: Path, made_with: Callable[[], str]) -> None:
        self.path, self.made_with = path, made_with

    @functools.cached_property
    def members(self) -> zipfile.ZipFile | None:
        """The open file; None if it is missing, damaged, or made with something else."""
        try:
            found = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile):
            return None
        if found.comment.decode(errors="replace") == self.made_with():
            return found
        found.close()
        return None

    def read(self, name: str, symbol: str) -> str | None:
        """A text, with ``symbol`` in place of `PLACEHOLDER`; None if it is not there."""
        found = self.read_bytes(name)
        try:
            return None if found is None else found.decode().replace(PLACEHOLDER, symbol)
        except ValueError:
            return None

    def read_bytes(self, name: str) -> bytes | None:
        """A member; None if it is not there, or damaged."""
        if self.members is None or name not in self.members.NameToInfo:
            return None
        try:
            return self.members.read(name)
        except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error):
            return None

    def write(self, members: Mapping[str, str | bytes]) -> None:
        """Replaces the file. The same members give the same bytes."""
        with zipfile.ZipFile(self.path, "w") as archive:
            for name, content in sorted(members.items()):
                archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED, 9)
            archive.comment = self.made_with().encode()
