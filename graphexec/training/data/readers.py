"""Opens a file of arrays by its extension."""

from __future__ import annotations

from pathlib import Path

from graphexec.errors import DataError, did_you_mean
from graphexec.training.data.csv import Columns
from graphexec.training.data.npy import Npy, Npz, Source

READERS: dict[str, type[Source]] = {".npy": Npy, ".npz": Npz, ".csv": Columns}


def open_source(path: Path) -> Source:
    """*Raises* DataError when the file is missing, unreadable, or of no kind that is read."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path.suffix or 'a file without extension'!r} is not read", source=str(path), todo=f"Use {', '.join(READERS)}."
        )
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*") if p.suffix.lower() in READERS] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, beside)
        what = "this is a directory" if path.is_dir() else "no such file"
        raise DataError(what + (f"; {hint}" if hint else ""), source=str(path), todo="Check the path.")
    return reader(path)
