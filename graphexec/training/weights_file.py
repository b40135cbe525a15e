"""The layout of safetensors files: a length in 8 bytes, a header in JSON, the arrays one after another.

Files are written here, because the library of that name hides what the operating system says, and sets its own permissions; it
reads them. Source: https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphexec.errors import DataError

TYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
"""NumPy's name of each element type that can be stored, and the format's."""

MAX_HEADER = 100_000_000
"""The longest header that the format allows, in bytes."""


def parts(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> list[memoryview]:
    """The bytes of a file, piece by piece, without a copy of contiguous arrays. *Raises* DataError for an element type it lacks."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    pieces, end = [], 0  # the widest type first: each array is aligned to its type
    for name, array in sorted(arrays.items(), key=lambda item: (-np.asarray(item[1]).itemsize, item[0])):
        array = np.asarray(array)
        if array.dtype.name not in TYPES:
            raise DataError(f"array {name!r} is {array.dtype}, which a safetensors file cannot hold", todo="Convert it to float32.")
        piece = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).reshape(-1).view(np.uint8).data
        header[name] = {"dtype": TYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [end, end + len(piece)]}
        pieces.append(piece)
        end += len(piece)
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return [memoryview(len(text).to_bytes(8, "little") + text), *pieces]


def require_known_types(path: Path) -> None:
    """*Raises* DataError that names the first array of an element type that NumPy lacks, such as bfloat16; else does nothing."""
    for name, entry in _header(path).items():
        stored = entry.get("dtype") if isinstance(entry, dict) and name != "__metadata__" else None
        if isinstance(stored, str) and stored not in TYPES.values():
            raise DataError(
                f"array {name!r} has the element type {stored}, which is not supported",
                source=str(path),
                facts=[f"supported: {', '.join(TYPES.values())}"],
                todo="Convert it to F32 in the program that wrote it, and save it again.",
            )


def _header(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            found = json.loads(stream.read(length)) if length <= MAX_HEADER else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
