"""Reads arrays of numbers from .npy and .npz files. Nothing is unpickled, and no memory is taken for what a file does not hold.

Sizes in a header must agree with the number of bytes that follow, and what a compressed member is said to hold with what its
bytes can hold. `.npy` files and large uncompressed members of `.npz` files are mapped into memory rather than read.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from graphexec.errors import DataError
from graphexec.ir.function import Leaf
from graphexec.training.data.source import Source, reading, require_memory

Array = np.ndarray
Header = tuple[tuple[int, ...], bool, np.dtype]
"""Shape, whether in Fortran order, and element type."""

MAPPED = 16 * 2**20
"""An uncompressed member of an .npz file of at least this number of bytes is mapped rather than read."""
DEFLATE_RATIO = 1032
"""Deflate makes at most this number of bytes of one byte."""
MAX_AXES = 32


class Npy(Source):
    """A file with one array, mapped into memory."""

    def whole(self, leaf: Leaf) -> Array:
        with reading(self.path), open(self.path, "rb") as stream:
            header = _header(stream, self.where())
            offset = stream.tell()
            _check_length(header, stream.seek(0, 2) - offset)
            return _mapped(self.path, header, offset)

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
        self._members: dict[str, zipfile.ZipInfo] = {}
        with reading(path), zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in self._members:
                    raise DataError(f"the file has two arrays {name!r}", source=str(path), todo="Write it again with np.savez.")
                self._members[name] = info

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
        info, where = self._members[name], self.where(name)
        with reading(self.path, where):
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("a member is encrypted, or compressed as np.savez does not")
            if info.compress_type == zipfile.ZIP_STORED and info.file_size >= MAPPED:
                return _mapped_member(self.path, info, where)
            if info.file_size > info.compress_size * DEFLATE_RATIO:
                raise ValueError("a member is said to hold more than its bytes can")
            with zipfile.ZipFile(self.path) as archive, archive.open(info) as stream:
                return _read_member(stream, info.file_size, where)


def _header(stream: IO[bytes], where: str) -> Header:
    """Reads the header of an array. *Raises* DataError for what is not numbers, ValueError for a broken header."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format holds no plain array of numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise DataError(
            "the array holds Python objects, which are never loaded",
            source=where,
            todo="Save it as an array of numbers: array.astype(float).",
        )
    if len(shape) > MAX_AXES or any(n < 0 for n in shape):
        raise ValueError(f"its shape is {shape}")
    return shape, fortran, dtype


def _check_length(header: Header, count: int) -> None:
    """*Raises* ValueError if the number of bytes that follow is not what the header says."""
    shape, _, dtype = header
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != count:
        raise ValueError(f"its header says {wanted} bytes of data, and {count} follow")


def _mapped(path: Path, header: Header, offset: int) -> Array:
    shape, fortran, dtype = header
    if math.prod(shape) * dtype.itemsize == 0:  # nothing to map
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _read_member(stream: IO[bytes], size: int, where: str) -> Array:
    """Reads a member into memory and checks its checksum."""
    header = shape, fortran, dtype = _header(stream, where)
    _check_length(header, size - stream.tell())
    count = size - stream.tell()
    require_memory(count, where)
    data = bytearray(count)
    view, filled = memoryview(data), 0
    while filled < count:
        got = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError("a member ends early")
        filled += got
    stream.read(1)  # at the end, zipfile compares the checksum
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _mapped_member(path: Path, info: zipfile.ZipInfo, where: str) -> Array:
    """Maps an uncompressed member into memory. *Raises* ValueError if its headers are wrong."""
    with open(path, "rb") as stream:
        stream.seek(info.header_offset)
        local = stream.read(30)
        if local[:4] != b"PK\x03\x04":
            raise ValueError("a member's header is broken")
        stream.seek(int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"), 1)
        begin = stream.tell()
        header = _header(stream, where)
        offset = stream.tell()
        _check_length(header, info.file_size - (offset - begin))
        if begin + info.file_size > stream.seek(0, 2):
            raise ValueError("a member reaches past the end of the file")
    return _mapped(path, header, offset)
