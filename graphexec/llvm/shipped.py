"""shipped: archives of LLVM IR that the package brings, so that a first start need not make it again.

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
    """A zip file of texts; ``made_with`` describes what their content depends on beside their names."""

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
        if self.members is None or name not in self.members.NameToInfo:
            return None
        try:
            return self.members.read(name).decode().replace(PLACEHOLDER, symbol)
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error):
            return None

    def write(self, texts: Mapping[str, str]) -> None:
        """Replaces the file. The same texts give the same bytes."""
        with zipfile.ZipFile(self.path, "w") as archive:
            for name, text in sorted(texts.items()):
                archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED, 9)
            archive.comment = self.made_with().encode()
