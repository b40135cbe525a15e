"""Reads arrays of numbers from .npy and .npz files.

A `Source` is an opened file: it lists the names of its arrays and reads each of them. `readers.open_source` opens a file by its
extension.
"""

from __future__ import annotations

import errno
import zipfile
from pathlib import Path

import numpy as np

from graphexec.errors import DataError, with_hint
from graphexec.ir.function import Leaf
from graphexec.system_errors import unreadable

Array = np.ndarray

MAPPED = 16 * 2**20
"""An uncompressed member of an .npz file of at least this number of bytes is mapped rather than read."""
BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, SyntaxError)
"""Exceptions that NumPy and zipfile raise for files that are truncated or of another format."""


class Source:
    """A file that holds one array, or several by name."""

    single = True
    """Whether the file holds one array, without a name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Returns the names of the arrays."""
        return []

    def has(self, name: str) -> bool:
        """Whether the file has an array of that name."""
        return name in self.names()

    def where(self, name: str | None = None) -> str:
        """Returns the place of an array for errors: ``file:name``."""
        return str(self.path) if name is None else f"{self.path}:{name}"

    def whole(self, leaf: Leaf) -> Array:
        """Reads the only array of the file. *Raises* DataError if it has several."""
        raise NotImplementedError

    def array(self, name: str, leaf: Leaf) -> Array:
        """Reads the array of that name. *Raises* DataError with the nearest name."""
        raise NotImplementedError

    def unknown(self, name: str, what: str = "array") -> DataError:
        """Builds the error for an unknown name, with the nearest known one."""
        return DataError(
            with_hint(f"the file has no {what} {name!r}", name, self.names()),
            source=str(self.path),
            todo=f"Its {what}s are: {', '.join(self.names()) or 'none'}.",
        )


class Npy(Source):
    """A file with one array, mapped into memory."""

    def whole(self, leaf: Leaf) -> Array:
        try:
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except BROKEN as error:
            raise _broken(self.path, error) from error
        if not isinstance(array, np.ndarray):
            raise DataError(
                "this is not an .npy file", source=str(self.path), todo="Correct its extension, or save it with np.save."
            )
        return array

    def array(self, name: str, leaf: Leaf) -> Array:
        if name in ("", self.path.stem, leaf.name):
            return self.whole(leaf)
        raise DataError(
            f"an .npy file holds one array without a name, so it has no {name!r}", source=str(self.path), todo="Leave the name out."
        )


class Npz(Source):
    """A file with several arrays by name."""

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
            f"the file has {len(self._members)} arrays, and none is named {leaf.name!r}",
            source=str(self.path),
            facts=[f"arrays: {', '.join(self._members) or 'none'}"],
            todo=f"Name one of them: {self.path.name}:ARRAY.",
        )

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
            raise DataError(
                f"{name!r} is not an array", source=str(self.path), todo=f"Its members are: {', '.join(self._members)}."
            )
        return array


def _broken(path: Path, error: BaseException, name: str | None = None) -> DataError:
    """Translates an exception of NumPy or zipfile."""
    text, source = str(error), str(path) if name is None else f"{path}:{name}"
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a broken zip file is read at impossible places
        return unreadable(source, error)
    if "Object arrays" in text or "Python objects" in text:
        return DataError(
            "the array holds Python objects, which are never loaded",
            source=source,
            todo="Save it as an array of numbers: array.astype(float).",
        )
    if path.stat().st_size == 0:
        return DataError("the file is empty", source=source, todo="Write it again.")
    kind = path.suffix.lower()
    return DataError(
        f"the file is truncated or not {'an' if kind != '.csv' else 'a'} {kind} file",
        source=source,
        facts=[f"{type(error).__name__}: {text}"],
        todo="Write it again with np.save." if kind == ".npy" else "Write it again with np.savez.",
    )


def _mapped(path: Path, info: zipfile.ZipInfo) -> Array:
    """Maps an uncompressed member of an .npz file into memory. *Raises* ValueError if its headers are wrong."""
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
