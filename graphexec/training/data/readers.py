"""Opens files of arrays by their extension."""

from __future__ import annotations

import os
from pathlib import Path

from graphexec.errors import DataError, with_hint
from graphexec.system_errors import NO_FILE, require_file
from graphexec.training.data.csv import Columns
from graphexec.training.data.npy import Npy, Npz
from graphexec.training.data.source import Source

READERS: dict[str, type[Source]] = {".npy": Npy, ".npz": Npz, ".csv": Columns}


def open_source(path: Path) -> Source:
    """Opens a file of arrays. *Raises* DataError if it is missing, unreadable or of an unsupported format."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path.suffix or 'a file without extension'!r} is not a supported format",
            source=str(path),
            todo=f"Use {', '.join(READERS)}.",
        )
    try:
        require_file(path)
    except DataError as error:
        if error.what == NO_FILE:
            error.what = with_hint(NO_FILE, path.name, _beside(path))
        raise
    return reader(path)


def _beside(path: Path) -> list[str]:
    """Names of the files of arrays in the same folder."""
    try:
        return [name for name in os.listdir(path.parent) if Path(name).suffix.lower() in READERS]
    except OSError:
        return []
