"""Reads arrays from .npy, .npz and .csv files, fits them to a graph's inputs, and holds out rows.

Files are read only as arrays of numbers: pickled objects are refused. `.npy` files and large uncompressed members of `.npz`
files are mapped into memory rather than read.

    arrays = read_inputs(["x=x.npy", "batch.npz"], leaves)      # -i on the command line
    split = training_data(graph, graph.dag.graph["train"])      # the data of a graph file
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from graphexec.errors import DataError, with_hint
from graphexec.graph.graph import Graph
from graphexec.ir.function import Leaf
from graphexec.training.data.fitting import fitted
from graphexec.training.data.readers import READERS, open_source
from graphexec.training.data.rows import Rows, Split, count_rows, is_batched, split_rows
from graphexec.training.data.source import Source

__all__ = [
    "Rows", "Split", "count_rows", "fitted", "input_leaves", "is_batched", "read_inputs", "section_arrays", "split_rows",
    "training_data",
]  # fmt: skip

Array = np.ndarray


def input_leaves(graph: Graph) -> dict[str, Leaf]:
    """Returns the inputs of a graph by name."""
    return {leaf.name: leaf for leaf in graph.function().of_role("input")}


# -- from the command line


def read_inputs(
    specs: Iterable[str], leaves: Mapping[str, Leaf], directory: str | PathLike[str] = ".", *, finite: bool = False
) -> dict[str, Array]:
    """Reads inputs from ``x=file.npy``, ``x=file.npz:array``, ``x=file.csv:column,column`` or ``file.npz``.

    A file without a name supplies every input that it has an array for; ``finite`` refuses NaN and infinity. *Raises* DataError
    naming file, array and input.
    """
    found: dict[str, Array] = {}
    for spec in specs:
        name, path = _split_spec(spec)
        if name is None:
            for key, array in _all_inputs(open_source(Path(directory, path)), leaves, finite).items():
                _give(found, key, array, path)
            continue
        if name not in leaves:
            raise DataError(
                with_hint(f"the graph has no input {name!r}", name, leaves),
                facts=[f"-i {spec}"],
                todo=f"Its inputs are: {', '.join(leaves) or 'none'}.",
            )
        _give(found, name, _read_one(path, leaves[name], directory, finite), path)
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


def _all_inputs(source: Source, leaves: Mapping[str, Leaf], finite: bool) -> dict[str, Array]:
    """Reads every input that the file has an array for."""
    names = [n for n in leaves if source.has(n)]
    if not names and source.single and len(leaves) == 1:
        return {n: fitted(source.whole(leaf), leaf, source.where(), finite=finite) for n, leaf in leaves.items()}
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
    return {n: fitted(source.array(n, leaves[n]), leaves[n], source.where(n), finite=finite) for n in names}


def _read_one(text: str, leaf: Leaf, directory: str | PathLike[str], finite: bool) -> Array:
    """Reads one input from ``FILE:array``, or from ``FILE``: the array with the input's name, or the only one."""
    path, inside = _split_path(text)
    source = open_source(Path(directory, path))
    if inside is None and not source.single and source.has(leaf.name):
        inside = leaf.name
    array = source.whole(leaf) if inside is None else source.array(inside, leaf)
    return fitted(array, leaf, source.where(inside), finite=finite)


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


def training_data(
    graph: Graph, train: Mapping[str, Any], *, seed: int | None = None, arrays: Mapping[str, Array] | None = None
) -> Split:
    """Reads the arrays that a train section names, unless they are given, and holds out rows as it says.

    *Raises* DataError if there is no data, a file or array is missing, arrays do not fit the graph, too few rows are left, or the
    data holds NaN or infinity and the section has no ``allow_nan: true``.
    """
    data, finite = train.get("data"), not train.get("allow_nan", False)
    leaves = input_leaves(graph)
    directory = graph.dag.graph.get("directory", ".")
    if arrays is None:
        if data is None:
            raise DataError("the graph file names no data", todo="Add `data: {file: FILE}` to its train section, or use -i.")
        arrays = section_arrays(data, leaves, directory, finite=finite)
    hold_out = train.get("hold_out", 0)
    if isinstance(hold_out, Mapping):
        held_out = section_arrays(hold_out, leaves, directory, finite=finite)
        return Split(arrays, held_out, (count_rows(arrays, leaves), count_rows(held_out, leaves)))
    if not hold_out:
        return Split(arrays, None, (count_rows(arrays, leaves), 0))
    seed = int(train.get("seed", 0)) if seed is None else seed
    return split_rows(arrays, leaves, float(hold_out), seed, shuffle=train.get("shuffle", True))


def section_arrays(
    data: Mapping[str, Any], leaves: Mapping[str, Leaf], directory: str | PathLike[str], *, finite: bool = False
) -> dict[str, Array]:
    """Reads arrays by input from ``{"file":, "inputs": {input: array}}`` or ``{"inputs": {input: FILE}}``."""
    if "file" not in data:
        arrays = {n: _read_one(p, leaves[n], directory, finite) for n, p in data.get("inputs", {}).items()}
    else:
        source = open_source(Path(directory, data["file"]))
        if "inputs" in data:
            arrays = {
                n: fitted(source.array(a, leaves[n]), leaves[n], source.where(a), finite=finite) for n, a in data["inputs"].items()
            }
        else:
            arrays = _all_inputs(source, leaves, finite)
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


