"""Reads arrays from .npy, .npz and .csv files, fits them to a graph's inputs, and holds out rows.

Files are read only as arrays of numbers: pickled objects are refused. `.npy` files and large uncompressed members of `.npz`
files are mapped into memory rather than read.

    arrays = read_inputs(["x=x.npy", "batch.npz"], leaves)      # -i on the command line
    split = training_data(graph, graph.dag.graph["train"])      # the data of a graph file

Rows are counted along the leading dimension that inputs share. To hold out a fraction, the rows are shuffled by the seed
alone, and both parts are copied. Data of more than MAX_COPIED_BYTES is not copied: its last rows are held out without a
shuffle, both parts are views into the files, and element types are converted batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from graphexec.errors import DataError, with_hint
from graphexec.graph.graph import Graph
from graphexec.ir.function import Leaf
from graphexec.ir.spec import DTYPES, shape_text
from graphexec.training.data.npy import Source
from graphexec.training.data.readers import READERS, open_source

Array = np.ndarray

MAX_COPIED_BYTES = 256 * 2**20
"""Data sets larger than this number of bytes are not copied."""
HOLD_OUT_STREAM = 0x401D
"""Separates the shuffle before holding out from all other uses of the seed."""


@dataclass(frozen=True)
class Split:
    """Arrays by input name: rows to train on, and rows held out; ``rows`` counts both."""

    train: dict[str, Array]
    held_out: dict[str, Array] | None
    rows: tuple[int, int]


def input_leaves(graph: Graph) -> dict[str, Leaf]:
    """Returns the inputs of a graph by name."""
    return {leaf.name: leaf for leaf in graph.function().of_role("input")}


# -- from the command line


def read_inputs(specs: Iterable[str], leaves: Mapping[str, Leaf], directory: str | PathLike[str] = ".") -> dict[str, Array]:
    """Reads inputs from ``x=file.npy``, ``x=file.npz:array``, ``x=file.csv:column,column`` or ``file.npz``.

    A file without a name supplies every input that it has an array for. *Raises* DataError naming file, array and input.
    """
    found: dict[str, Array] = {}
    for spec in specs:
        name, path = _split_spec(spec)
        if name is None:
            for key, array in _all_inputs(open_source(Path(directory, path)), leaves).items():
                _give(found, key, array, path)
            continue
        if name not in leaves:
            raise DataError(
                with_hint(f"the graph has no input {name!r}", name, leaves),
                facts=[f"-i {spec}"],
                todo=f"Its inputs are: {', '.join(leaves) or 'none'}.",
            )
        _give(found, name, _read_one(path, None, leaves[name], directory, name), path)
    return found


def _split_spec(spec: str) -> tuple[str | None, str]:
    name, equals, path = spec.partition("=")
    if not equals or any(c in name for c in "/\\."):
        return None, spec
    if not path:
        raise DataError(f"-i {spec} names no file", todo=f"Write -i {name}=FILE, with a file {' or '.join(READERS)}.")
    return name.strip(), path


def _give(found: dict[str, Array], name: str, array: Array, path: str) -> None:
    if name in found:
        raise DataError(f"input {name!r} is given twice", source=path, todo="Name each input once.")
    found[name] = array


def _all_inputs(source: Source, leaves: Mapping[str, Leaf]) -> dict[str, Array]:
    """Reads every input that the file has an array for."""
    names = [n for n in leaves if source.has(n)]
    if not names and source.single and len(leaves) == 1:
        return {n: fitted(source.whole(leaf), leaf, source.where()) for n, leaf in leaves.items()}
    if not names:
        raise DataError(
            "the file has no array with the name of an input",
            source=str(source.path),
            facts=[
                f"arrays: {', '.join(source.names()) or 'one, without a name'}",
                f"inputs: {', '.join(leaves) or 'none'}",
            ],
            todo=f"Say which array is which: -i NAME={source.path.name}" + ("" if source.single else ":ARRAY") + ".",
        )
    return {n: fitted(source.array(n, leaves[n]), leaves[n], source.where(n)) for n in names}


def _read_one(text: str, array: str | None, leaf: Leaf, directory: str | PathLike[str], name: str) -> Array:
    """Reads one input from ``FILE``, ``FILE:array``, or a file and the array's name."""
    path, inside = _split_path(text)
    source = open_source(Path(directory, path))
    array = inside if array is None else array
    if array is not None:
        return fitted(source.array(array, leaf), leaf, source.where(array))
    if not source.single and source.has(name):
        return fitted(source.array(name, leaf), leaf, source.where(name))
    return fitted(source.whole(leaf), leaf, source.where())


def _split_path(text: str) -> tuple[str, str | None]:
    """Splits ``data.npz:images`` into file and array; a colon that follows no known extension belongs to the path."""
    path, colon, array = text.partition(":")
    while colon:
        if Path(path).suffix.lower() in READERS:
            return path, array
        more, colon, array = array.partition(":")
        path = f"{path}:{more}"
    return text, None


# -- from the train section


def training_data(graph: Graph, train: Mapping[str, Any], *, seed: int | None = None) -> Split:
    """Reads the arrays that a train section names and holds out rows as it says.

    *Raises* DataError if there is no data, a file or array is missing, arrays do not fit the graph, or too few rows
    are left.
    """
    data = train.get("data")
    if data is None:
        raise DataError("the graph file names no data", todo="Add `data: {file: FILE}` to its train section, or use -i.")
    leaves = input_leaves(graph)
    directory = graph.dag.graph.get("directory", ".")
    arrays = section_arrays(data, leaves, directory)
    hold_out = train.get("hold_out", 0)
    if isinstance(hold_out, Mapping):
        held_out = section_arrays(hold_out, leaves, directory)
        return Split(arrays, held_out, (count_rows(arrays, leaves), count_rows(held_out, leaves)))
    if not hold_out:
        return Split(arrays, None, (count_rows(arrays, leaves), 0))
    return split_rows(arrays, leaves, float(hold_out), int(train.get("seed", 0)) if seed is None else seed)


def section_arrays(data: Mapping[str, Any], leaves: Mapping[str, Leaf], directory: str | PathLike[str]) -> dict[str, Array]:
    """Reads arrays by input from ``{"file":, "inputs": {input: array}}`` or ``{"inputs": {input: FILE}}``."""
    if "file" not in data:
        arrays = {n: _read_one(p, None, leaves[n], directory, n) for n, p in data.get("inputs", {}).items()}
    else:
        source = open_source(Path(directory, data["file"]))
        if "inputs" in data:
            arrays = {n: fitted(source.array(a, leaves[n]), leaves[n], source.where(a)) for n, a in data["inputs"].items()}
        else:
            arrays = _all_inputs(source, leaves)
    for name in leaves:
        if name not in arrays:
            raise DataError(
                f"the data has no array for input {name!r}",
                source=data.get("file"),
                facts=[f"given: {', '.join(arrays) or 'none'}"],
                todo=f"Add {name} to the inputs of data, with the name of its array.",
            )
    count_rows(arrays, leaves)
    return arrays


def count_rows(arrays: Mapping[str, Array], leaves: Mapping[str, Leaf]) -> int:
    """Counts the rows. *Raises* DataError if inputs that share a dimension disagree, or if there are no rows."""
    sizes: dict[str, tuple[int, str]] = {}
    for name, array in arrays.items():
        for axis, (n, size) in enumerate(zip(leaves[name].shape, array.shape, strict=True)):
            if isinstance(n, str) and sizes.setdefault(n, (size, name))[0] != size:
                known, owner = sizes[n]
                raise DataError(
                    f"dimension {n!r} is {known} in {owner!r} and {size} in {name!r}",
                    facts=[
                        f"{i}: {leaves[i].dtype}{shape_text(leaves[i].shape)}, array {shape_text(a.shape)}"
                        for i, a in arrays.items()
                    ],
                    todo=f"Check axis {axis} of {name!r}: arrays that share a dimension must agree.",
                )
    batched = [name for name in arrays if is_batched(leaves[name])]
    rows = len(arrays[batched[0]]) if batched else 1
    if rows == 0:
        raise DataError(
            "the data is empty",
            facts=[f"{batched[0]}: array {shape_text(arrays[batched[0]].shape)}"],
            todo="Give at least one row.",
        )
    return rows


def is_batched(leaf: Leaf) -> bool:
    """Whether the leading axis of an input counts rows: it has a name rather than a size."""
    return bool(leaf.shape) and isinstance(leaf.shape[0], str)


def split_rows(arrays: Mapping[str, Array], leaves: Mapping[str, Leaf], fraction: float, seed: int) -> Split:
    """Shuffles the rows by the seed and holds out the last ``fraction``; see the module for large data."""
    rows = count_rows(arrays, leaves)
    batched = [name for name in arrays if is_batched(leaves[name])]
    held = max(round(rows * fraction), 1)
    if not batched or rows - held < 1:
        what = "no input has rows: all leading sizes are fixed" if not batched else f"there are {rows} rows"
        raise DataError(f"cannot hold out {fraction:g} of the data: {what}", todo="Set hold_out: 0, or give hold_out its own data.")
    large = sum(arrays[n].size * np.dtype(leaves[n].dtype).itemsize for n in batched) > MAX_COPIED_BYTES
    permutation = None if large else np.random.default_rng([seed, HOLD_OUT_STREAM]).permutation(rows)

    def part(begin: int, end: int) -> dict[str, Array]:
        rows = slice(begin, end) if permutation is None else permutation[begin:end]
        return {n: a if n not in batched else a[rows] for n, a in arrays.items()}

    return Split(part(0, rows - held), part(rows - held, rows), (rows - held, held))


# -- fitting an array to an input


def fitted(array: Array, leaf: Leaf, where: str) -> Array:
    """Converts an array to an input's element type. *Raises* DataError if rank, a size or the element type does not fit."""
    facts = [
        f"input {leaf.name!r} is declared {leaf.dtype}{shape_text(leaf.shape)}",
        f"the array is {array.dtype}{shape_text(array.shape)}",
    ]
    if array.ndim != len(leaf.shape):
        raise DataError(
            f"input {leaf.name!r} has {len(leaf.shape)} axes, but the array has {array.ndim}",
            source=where,
            facts=facts,
            todo="Reshape the array.",
        )
    for axis, (n, size) in enumerate(zip(leaf.shape, array.shape, strict=True)):
        if not isinstance(n, str) and n != size:
            raise DataError(
                f"input {leaf.name!r} has size {n} on axis {axis}, but the array has {size}",
                source=where,
                facts=facts,
                todo="Check which array belongs to which input.",
            )
    return _converted(array, leaf, where, facts)


def _converted(array: Array, leaf: Leaf, where: str, facts: list[str]) -> Array:
    if array.dtype == leaf.dtype:
        return array
    if array.dtype.kind not in "fiub" or leaf.dtype not in DTYPES:
        raise DataError(
            f"the array holds {_kind(array)}, not numbers", source=where, facts=facts, todo="Save it as an array of numbers."
        )
    widening = np.can_cast(array.dtype, leaf.dtype, "safe")
    if array.nbytes > MAX_COPIED_BYTES and np.can_cast(array.dtype, leaf.dtype, "same_kind"):
        return array  # converted batch by batch as it is read
    with np.errstate(all="ignore"):
        converted = array.astype(leaf.dtype)
    if widening or (DTYPES[leaf.dtype] == "f" and array.dtype.kind in "iub"):
        return converted
    if DTYPES[leaf.dtype] == "f":
        lost = np.isinf(converted) & ~np.isinf(array)
        what = "overflows"
    else:
        lost = (converted.astype(array.dtype) != array) | _beyond(array, leaf.dtype)
        what = "cannot be represented exactly as"
    if lost.any():
        at = tuple(int(i) for i in np.argwhere(lost)[0])
        raise DataError(
            f"{array[at]!s} at index {at} {what} {leaf.dtype}",
            source=where,
            facts=facts,
            todo=f"Convert the array, or declare the input as {array.dtype.name if array.dtype.name in DTYPES else 'float64'}.",
        )
    return converted


def _beyond(array: Array, dtype: str) -> Any:
    """Marks numbers outside an integer type's range, which may survive a conversion and back by wrapping around twice."""
    if DTYPES[dtype] != "i":
        return False
    info = np.iinfo(dtype)
    return (array < info.min) | ((array > info.max) if array.dtype.kind in "iub" else (array >= 2.0 ** (info.bits - 1)))


def _kind(array: Array) -> str:
    kinds = {"c": "complex numbers", "U": "text", "S": "bytes", "V": "records", "M": "dates", "m": "time spans"}
    return kinds.get(array.dtype.kind, str(array.dtype))
