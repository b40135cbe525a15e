"""Graph files: YAML for people, JSON with a published schema for programs; the same model, without any code.

    graphexec: 1
    name: nested
    inputs:
      x: float32[batch, 2]                                  # dtype and shape; a scalar is float32
    parameters:
      w: {type: "float32[2, 2]", init: glorot_uniform}      # or value: nested lists; trainable: false
      b: float32[2]                                         # zeros
    constants:
      two: 2.0                                              # or {type:, value:}
    nodes:
      z1: linear(x, w, b)                                   # or {op: linear, inputs: [x, w, b], attributes: {}}
      loss: sum(multiply(z1, z1))                           # the inner call becomes the node loss.1
    outputs: [z1, loss]                                     # without it: the nodes that nothing reads
    unused: []                                              # what nothing reads, on purpose

a ``train:`` section, and ``gradients:`` and ``deltas:`` in a graph that was differentiated. The order of entries is
free. Reading is layered: `graphfile_text` (YAML or JSON to a tree with lines), `graphfile_call` (call expressions),
`graphfile_fields` (types, arrays), `graphfile_build` (tree to Graph), `graphfile_train`, `graphfile_check` (cycles,
shapes), `graphfile_read` (all of it); `graphfile_write` is the way back.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from graphexec.errors import GraphError, GraphFileError
from graphexec.graph.file.read import read_graph
from graphexec.graph.file.text import read_tree
from graphexec.graph.file.train_section import metric_values
from graphexec.graph.file.tree import MAX_BYTES, Page
from graphexec.graph.file.write import dump, model
from graphexec.graph.graph import Graph

__all__ = ["dumps", "load", "loads", "metric_values", "save", "schema"]

FORMATS = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}


def load(path: str | PathLike[str]) -> Graph:
    """Reads and checks a graph file, by extension: .yaml, .yml or .json.

    Nodes carry ``source`` ("net.yaml:12"), the graph ``directory`` and ``train`` in ``dag.graph``. Nothing in the
    file is ever evaluated or imported. *Raises* GraphFileError with file and line for what is not well formed,
    and CycleError, OpError, ShapeError, DtypeError, GraphError, with the same place, for what does not fit.
    """
    file = os.fspath(path)
    kind = _format(file)
    try:
        if not os.path.isfile(file):
            what = (
                "this is a directory"
                if os.path.isdir(file)
                else "no such file"
                if not os.path.exists(file)
                else "this is no regular file"
            )
            raise GraphFileError(what, source=file, todo="Give the path of a graph file.")
        with open(file, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise GraphFileError(f"cannot read the file: {error}", source=file) from error
    return _read(data, kind, file, os.path.dirname(os.path.abspath(file)))


def loads(text: str | bytes, format: str = "yaml", name: str = "<string>") -> Graph:  # noqa: A002 - the word users look for
    """Reads a graph from text, as `load` does. ``name`` stands for the file in errors."""
    if format not in ("yaml", "json"):
        raise GraphFileError(f"unknown format {format!r}", todo="Use 'yaml' or 'json'.")
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _read(data, format, name, os.getcwd())


def save(graph: Graph, path: str | PathLike[str]) -> None:
    """Writes the graph, by extension; the file is there whole or not at all.

    *Raises* GraphFileError when it cannot be written, GraphError for what a file cannot hold, such as the values of
    large parameters, which belong into a safetensors file.
    """
    file = os.fspath(path)
    try:
        data = dumps(graph, _format(file)).encode("utf-8")
    except UnicodeEncodeError as error:
        raise GraphError(f"a text of the graph is not writable as UTF-8: {error}", source=file) from error
    try:
        _write(file, data)
    except (OSError, ValueError) as error:
        raise GraphFileError(f"cannot write the file: {error}", source=file) from error


def dumps(graph: Graph, format: str = "yaml") -> str:  # noqa: A002 - as above
    """The text that `save` writes. *Raises* GraphError."""
    if format not in ("yaml", "json"):
        raise GraphFileError(f"unknown format {format!r}", todo="Use 'yaml' or 'json'.")
    return dump(model(graph), format == "json")


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of graph files, YAML or JSON."""
    found: dict[str, Any] = json.loads(files("graphexec.graph.file").joinpath("graph.schema.json").read_text(encoding="utf-8"))
    return found


def _format(file: str) -> str:
    extension = Path(file).suffix.lower()
    if extension not in FORMATS:
        raise GraphFileError(
            f"unknown extension {extension!r}", source=file, todo=f"A graph file is called NAME{', NAME'.join(FORMATS)}."
        )
    return FORMATS[extension]


def _read(data: bytes, kind: str, name: str, directory: str) -> Graph:
    if len(data) > MAX_BYTES:
        raise GraphFileError(
            f"the file is larger than {MAX_BYTES // 2**20} MiB",
            source=name,
            todo="A graph file holds no weights: keep them in a safetensors file.",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise GraphFileError("the file is not UTF-8 text", source=f"{name}:{line}", todo="Save it as UTF-8.") from None
    page = Page(name, text.replace("\r\n", "\n"), kind == "json")
    return read_graph(page, read_tree(page), directory)


def _write(file: str, data: bytes) -> None:
    """To a temporary file beside it, which then takes its place; through a link, the file that it leads to."""
    target = os.path.realpath(file)
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(target)[:50]}.", suffix=".tmp", dir=os.path.dirname(target))
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _mode(target: str) -> int:
    """That of the file which is replaced; for a new one what `open` would give, where mkstemp gives 0600."""
    with contextlib.suppress(OSError):
        return os.stat(target).st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
