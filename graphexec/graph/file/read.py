"""Reads graph files and checks the graphs."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from os import PathLike
from typing import Any

from graphexec.errors import GraphFileError
from graphexec.graph.file.build import GraphBuilder
from graphexec.graph.file.fields import sequence, text
from graphexec.graph.file.text import read_tree
from graphexec.graph.file.train_section import Train, read_train
from graphexec.graph.file.tree import MAX_BYTES, Item, Mapping, Page, Scalar, kind_name, resolve
from graphexec.graph.file.validate import check_graph
from graphexec.graph.file.write import format_of
from graphexec.graph.graph import Graph
from graphexec.ir.function import LEAVES
from graphexec.system_errors import require_file, unreadable

VERSION = 1
KEYS = ("graphexec", "name", "inputs", "parameters", "constants", "nodes", "outputs", "unused", "gradients", "deltas", "train")


def load(path: str | PathLike[str]) -> Graph:
    """Reads and checks a graph file, in the format of its extension: .yaml, .yml or .json.

    Each node has ``source`` ("net.yaml:12"); ``dag.graph`` has ``directory`` and ``train``. Nothing in the file is ever
    evaluated or imported. *Raises* GraphFileError with file and line if the file is not well formed, and CycleError,
    OpError, ShapeError, DtypeError or GraphError, also with file and line, if the graph is not.
    """
    file = os.fspath(path)
    kind = format_of(file)
    try:
        require_file(file, GraphFileError, "Give the path of a graph file.")
        with open(file, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise unreadable(file, error, GraphFileError) from error
    return _read(data, kind, file, os.path.dirname(os.path.abspath(file)))


def loads(content: str | bytes, format: str = "yaml", name: str = "<string>") -> Graph:  # noqa: A002 - the word users look for
    """Reads a graph from text, as `load` does; errors give ``name`` as the file."""
    if format not in ("yaml", "json"):
        raise GraphFileError(f"unknown format {format!r}", todo="Use 'yaml' or 'json'.")
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return _read(data, format, name, os.getcwd())


def schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of graph files, YAML or JSON."""
    found: dict[str, Any] = json.loads(files("graphexec.graph.file").joinpath("graph.schema.json").read_text(encoding="utf-8"))
    return found


def _read(data: bytes, kind: str, name: str, directory: str) -> Graph:
    if len(data) > MAX_BYTES:
        raise GraphFileError(
            f"the file is larger than {MAX_BYTES // 2**20} MiB",
            source=name,
            todo="Keep weights in a safetensors file, not in the graph file.",
        )
    try:
        decoded = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise GraphFileError("the file is not UTF-8 text", source=f"{name}:{line}", todo="Save it as UTF-8.") from None
    page = Page(name, decoded.replace("\r\n", "\n"), kind == "json")
    return read_graph(page, read_tree(page), directory)


def read_graph(page: Page, root: Item, directory: str) -> Graph:
    """Builds and checks the graph of a file's tree. *Raises* GraphFileError, CycleError, OpError, ShapeError with file and line."""
    fields = _top(page, root)
    graph = Graph(text(page, fields.items["name"], "name")) if "name" in fields.items else Graph()
    builder = GraphBuilder(page, graph)
    builder.leaves(fields)
    builder.nodes(fields)
    graph.dag.graph["directory"] = directory
    train = read_train(page, fields.items["train"], builder) if "train" in fields.items else None
    _outputs(page, fields, builder)
    _derivatives(page, fields, builder)
    fn = check_graph(builder)
    _refuse_unused(page, fields, builder, train)
    if train is not None:
        graph.dag.graph["train"] = train.settings
        train.check(builder, fn)
    return graph


def _top(page: Page, root: Item) -> Mapping:
    if not isinstance(root, Mapping):
        page.fail(root.line, f"a graph file is a mapping, not {kind_name(page, root)}", todo="Begin the file with graphexec: 1.")
    if "graphexec" not in root.items:
        near = next((k for k in root.items if k not in (*KEYS, "$schema")), None)
        if near is not None:
            _unknown_key(page, root, near)
        page.fail(root.line, "the version is missing", todo=f"Begin the file with graphexec: {VERSION}.")
    item = root.items["graphexec"]
    version = resolve(page, item) if isinstance(item, Scalar) else None
    if not isinstance(version, int) or isinstance(version, bool) or version != VERSION:
        page.fail(
            item.line,
            f"this is not a graph file of version {VERSION}: graphexec is {kind_name(page, item)}",
            todo=f"Write graphexec: {VERSION}, or update graphexec.",
        )
    for key in root.items:
        if key not in KEYS and key != "$schema":
            _unknown_key(page, root, key)
    if "nodes" not in root.items:
        page.fail(root.line, "the key 'nodes' is missing", todo="Add nodes:, with a line for each op.")
    return root


def _unknown_key(page: Page, root: Mapping, key: str) -> None:
    page.unknown(root.lines[key], "unknown key", key, KEYS)


def _outputs(page: Page, fields: Mapping, builder: GraphBuilder) -> None:
    """Sets the outputs; without ``outputs`` in the file, these are the nodes that nothing reads."""
    dag = builder.dag
    if "outputs" not in fields.items:
        dag.graph["outputs"] = [n for n, degree in dag.out_degree() if degree == 0 and dag.nodes[n]["op"] not in LEAVES]
        return
    names: dict[str, None] = {}
    for item in sequence(page, fields.items["outputs"], "outputs"):
        name = text(page, item, "an output")
        builder.known_output(name, item.line)
        if name in names:
            page.fail(item.line, f"outputs: {name!r} is given twice", todo="Remove one of them.")
        names[name] = None
    dag.graph["outputs"] = list(names)


def _derivatives(page: Page, fields: Mapping, builder: GraphBuilder) -> None:
    """Reads which value is the derivative with respect to which, in a graph that `differentiate` wrote."""
    for section in ("gradients", "deltas"):
        named: dict[str, str] = {}
        for name, item, line in builder.entries(fields, section):
            builder.known_output(name, line)
            named[name] = text(page, item, f"{section} of {name!r}")
            builder.known_output(named[name], item.line)
        if section in fields.items:
            builder.dag.graph[section] = named


def _refuse_unused(page: Page, fields: Mapping, builder: GraphBuilder, train: Train | None) -> None:
    """Refuses nodes that nothing reads, which are usually mistakes; ``unused`` lists the intended ones."""
    dag, read = builder.dag, set(train.reads) if train else set()
    for item in sequence(page, fields.items["unused"], "unused") if "unused" in fields.items else ():
        name = text(page, item, "an unused name")
        read.add(builder.resolve(name, item.line, what="unused: there is no value named")[0])
    for name in (*dag.graph["outputs"], *dag.graph.get("gradients", {}).values(), *dag.graph.get("deltas", {}).values()):
        read.add(builder.resolve(name, 0)[0])
    for name, succ in dag._succ.items():
        if not succ and name not in read:
            kind = dag.nodes[name]["op"]
            kind = kind if kind in ("input", "parameter", "constant") else "node"
            page.fail(
                builder.lines[name],
                f"nothing reads the {kind} {name!r}",
                node=name if kind == "node" else None,
                todo="Remove it, make it an output, or list it under unused: [...].",
            )
