"""Arrays in files: .npy, .npz and .csv, read as numbers and nothing else.

A `Source` is an opened file: what arrays it has by name, and each of them. Errors name the file, and the line of a CSV.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from graphexec.errors import DataError, did_you_mean
from graphexec.order import Leaf

Array = np.ndarray

MAPPED = 16 * 2**20
"""Bytes from which an uncompressed member of an .npz file is mapped rather than read."""
BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, SyntaxError)
"""What NumPy and zipfile raise for files that are truncated or something else altogether."""


class Source:
    """A file that holds one array, or several by name."""

    single = True
    """Whether the file as a whole is an array."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        return []

    def has(self, name: str) -> bool:
        return name in self.names()

    def where(self, name: str | None = None) -> str:
        return str(self.path) if name is None else f"{self.path}:{name}"

    def whole(self, leaf: Leaf) -> Array:
        """The array of a file that holds one."""
        raise NotImplementedError

    def array(self, name: str, leaf: Leaf) -> Array:
        """The array of that name. *Raises* DataError, with the nearest name."""
        raise NotImplementedError

    def unknown(self, name: str, what: str = "array") -> DataError:
        hint = did_you_mean(name, self.names())
        return DataError(
            f"the file has no {what} {name!r}" + (f"; {hint}" if hint else ""), source=str(self.path),
            todo=f"Its {what}s are: {', '.join(self.names()) or 'none'}.",
        )  # fmt: skip


class Npy(Source):
    """One array, mapped into memory."""

    def whole(self, leaf: Leaf) -> Array:
        try:
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except BROKEN as error:
            raise _broken(self.path, error) from error
        if not isinstance(array, np.ndarray):
            raise DataError("this is not an .npy file", source=str(self.path), todo="Rename it by what it is, or save it with np.save.")
        return array

    def array(self, name: str, leaf: Leaf) -> Array:
        if name in ("", self.path.stem, leaf.name):
            return self.whole(leaf)
        raise DataError(f"an .npy file holds one array, without a name, not {name!r}", source=str(self.path), todo="Leave the name out.")


class Npz(Source):
    """Several arrays by name."""

    single = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
        except BROKEN as error:
            raise _broken(path, error) from error

    def names(self) -> list[str]:
        return list(self._members)

    def whole(self, leaf: Leaf) -> Array:
        if len(self._members) == 1:
            return self.array(next(iter(self._members)), leaf)
        raise DataError(
            f"the file has {len(self._members)} arrays, and none is named {leaf.name!r}", source=str(self.path),
            facts=[f"arrays: {', '.join(self._members) or 'none'}"], todo=f"Say which: {self.path.name}:ARRAY.",
        )  # fmt: skip

    def array(self, name: str, leaf: Leaf) -> Array:
        if name not in self._members:
            raise self.unknown(name)
        info = self._members[name]
        try:
            if info.compress_type == zipfile.ZIP_STORED and info.file_size >= MAPPED:
                return _mapped(self.path, info)
            with np.load(self.path, allow_pickle=False) as archive:
                array = archive[name if name in archive.files else info.filename]
        except BROKEN as error:
            raise _broken(self.path, error, name) from error
        if not isinstance(array, np.ndarray):
            raise DataError(f"{name!r} is not an array", source=str(self.path), todo=f"Its members are: {', '.join(self._members)}.")
        return array


class Columns(Source):
    """A CSV file: one array of rows and columns, or columns by the names in its first line, or by number."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._table: Array | None = None
        with _open_text(path) as stream:
            first = _first_line(stream, path)
        self._delimiter = max(",;\t", key=first.count)
        cells = [c.strip() for c in next(csv.reader([first], delimiter=self._delimiter))]
        self._header = cells if any(cells) and not any(_is_number(c) for c in cells) else []

    def names(self) -> list[str]:
        return [h for h in self._header if h]

    def whole(self, leaf: Leaf) -> Array:
        return _as_declared(self.table(), leaf)

    def array(self, name: str, leaf: Leaf) -> Array:
        """Columns: ``label``, ``a,b,c``, or by number from 0, ``64`` and ``0:64``."""
        table = self.table()
        if name in self._header:
            return _as_declared(table[:, [self._header.index(name)]], leaf)
        picked = [k for part in name.split(",") for k in self._columns(part.strip(), table.shape[1])]
        return _as_declared(table[:, picked], leaf)

    def _columns(self, part: str, count: int) -> Sequence[int]:
        if part in self._header:
            return [self._header.index(part)]
        if re.fullmatch(r"\d+", part) and int(part) < count:
            return [int(part)]
        found = re.fullmatch(r"(\d*):(\d*)", part)
        if found:
            return range(count)[slice(*(int(g) if g else None for g in found.groups()))]
        if not self._header:
            raise DataError(
                f"the file has no column {part!r}: its first line has no names", source=str(self.path),
                todo=f"Columns go by number, 0 to {count - 1}: '0:{count - 1}' or '{count - 1}'.",
            )  # fmt: skip
        raise self.unknown(part, "column")

    def table(self) -> Array:
        if self._table is None:
            try:
                self._table = np.loadtxt(
                    self.path, delimiter=self._delimiter, skiprows=0 if not self._header else self._lines_before_data(), ndmin=2,
                    comments=None, quotechar='"', encoding="utf-8-sig",
                )  # fmt: skip
            except UnicodeDecodeError as error:
                raise DataError("the file is not UTF-8 text", source=str(self.path), todo="Save it as UTF-8.") from error
            except (ValueError, OSError) as error:
                raise self._bad_cell(error) from error
            if self._table.size == 0:
                raise DataError("the file has no row of numbers", source=str(self.path), todo="Give at least one row.")
        return self._table

    def _lines_before_data(self) -> int:
        with _open_text(self.path) as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    if not any(rest.strip() for rest in stream):
                        raise DataError("the file has no row of numbers", source=f"{self.path}:{number}", todo="Give at least one row.")
                    return number
        raise AssertionError("the file has a first line")

    def _bad_cell(self, error: Exception) -> DataError:
        """The first cell that is no number, or the first row of another length, with its line."""
        width = None
        skip = self._lines_before_data() if self._header else 0
        with _open_text(self.path) as stream:
            reader = csv.reader(stream, delimiter=self._delimiter)
            for cells in reader:
                place = f"{self.path}:{reader.line_num}"
                if reader.line_num <= skip or not any(c.strip() for c in cells):
                    continue
                for k, cell in enumerate(cells):
                    if not _is_number(cell):
                        column = f"{k + 1} ({self._header[k]!r})" if k < len(self._header) else str(k + 1)
                        what = f"{cell.strip()[:40]!r} is not a number" if cell.strip() else "the cell is empty"
                        return DataError(f"column {column}: {what}", source=place, todo="Every cell must be a number, but for a first line of names.")
                width = len(cells) if width is None else width
                if len(cells) != width:
                    return DataError(f"the row has {len(cells)} cells, not {width}", source=place, todo="All rows need as many cells as the first.")
        return DataError(f"the file cannot be read: {error}", source=str(self.path), todo="Every cell must be a number.")


READERS: dict[str, type[Source]] = {".npy": Npy, ".npz": Npz, ".csv": Columns}


def open_source(path: Path) -> Source:
    """*Raises* DataError when the file is missing, unreadable, or of no kind that is read."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path.suffix or 'a file without extension'!r} is not read", source=str(path), todo=f"Use {', '.join(READERS)}.")
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*") if p.suffix.lower() in READERS] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, beside)
        what = "this is a directory" if path.is_dir() else "no such file"
        raise DataError(what + (f"; {hint}" if hint else ""), source=str(path), todo="Check the path.")
    return reader(path)


def _broken(path: Path, error: BaseException, name: str | None = None) -> DataError:
    """NumPy's and zipfile's complaints in our words."""
    text, source = str(error), str(path) if name is None else f"{path}:{name}"
    if isinstance(error, PermissionError):
        return DataError("the file cannot be read: permission denied", source=source, todo="Change its permissions.")
    if "Object arrays" in text or "Python objects" in text:
        return DataError(
            "the array holds Python objects, which are never loaded", source=source, todo="Save it as an array of numbers: array.astype(float)."
        )
    if path.stat().st_size == 0:
        return DataError("the file is empty", source=source, todo="Write it again.")
    kind = path.suffix.lower()
    return DataError(
        f"the file is truncated or not {'an' if kind != '.csv' else 'a'} {kind} file", source=source, facts=[f"{type(error).__name__}: {text}"],
        todo="Write it again with np.save." if kind == ".npy" else "Write it again with np.savez.",
    )  # fmt: skip


def _mapped(path: Path, info: zipfile.ZipInfo) -> Array:
    """An uncompressed member of an .npz file as a map of the file. *Raises* ValueError when it is not as it says."""
    with open(path, "rb") as stream:
        stream.seek(info.header_offset)
        local = stream.read(30)
        if local[:4] != b"PK\x03\x04":
            raise ValueError("a member's header is broken")
        stream.seek(int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"), 1)
        begin = stream.tell()
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        offset = stream.tell()
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be mapped")
    if offset - begin + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize != info.file_size:
        raise ValueError("a member is shorter than its header says")
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _open_text(path: Path) -> IO[str]:
    try:
        return open(path, encoding="utf-8-sig", newline="")
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", source=str(path), todo="Check the path.") from error


def _first_line(stream: IO[str], path: Path) -> str:
    try:
        for line in stream:
            if line.strip():
                return line
    except UnicodeDecodeError as error:
        raise DataError("the file is not UTF-8 text", source=str(path), todo="Save it as UTF-8.") from error
    raise DataError("the file is empty", source=str(path), todo="Give at least one row.")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _as_declared(table: Array, leaf: Leaf) -> Array:
    """A table of one column or one row as the axes that the input declares; other tables as they are."""
    if len(leaf.shape) == 1 and (table.shape[1] == 1 or table.shape == (1, leaf.shape[0])):
        return table.reshape(-1)
    if len(leaf.shape) == 0 and table.size == 1:
        return table.reshape(())
    rest = leaf.shape[1:]
    if len(leaf.shape) > 2 and all(isinstance(n, int) for n in rest) and table.shape[1] == np.prod(rest):
        return table.reshape(-1, *(int(n) for n in rest))
    return table
