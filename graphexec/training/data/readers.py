"""Opens files of arrays by their extension."""

from __future__ import annotations

from pathlib import Path

from graphexec.errors import DataError, with_hint
from graphexec.training.data.csv import Columns
from graphexec.training.data.npy import Npy, Npz, Source

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
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*") if p.suffix.lower() in READERS] if path.parent.is_dir() else []
        what = "this is a directory" if path.is_dir() else "no such file"
        raise DataError(with_hint(what, path.name, beside), source=str(path), todo="Check the path.")
    return reader(path)
