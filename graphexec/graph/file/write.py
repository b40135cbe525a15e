"""Writes a Graph as a graph file: calls where names allow it, no defaults, one entry per line.

`model` converts the graph to plain data, which the JSON Schema describes, and `dump` formats the data as YAML or JSON.
Nodes are written in execution order, so that a graph that is read again runs in the same order.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphexec.atomic_file import replacing
from graphexec.errors import GraphError, GraphFileError
from graphexec.graph.file.calls import NAME, WORDS, read_call
from graphexec.graph.file.tree import Page, Scalar
from graphexec.ir.function import ABSENT, Function, Leaf, Node
from graphexec.system_errors import unwritable

if TYPE_CHECKING:
    import networkx as nx

MAX_INLINE = 1000
"""Maximum number of elements of an array in a graph file; larger arrays belong in a safetensors file."""

FORMATS = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}

_SECTIONS = {"input": "inputs", "parameter": "parameters", "constant": "constants"}


def save(dag: nx.MultiDiGraph[Any], fn: Function, path: str | PathLike[str]) -> None:
    """Writes a graph to a file atomically, in the format of its extension; ``fn`` is the function read from ``dag``.

    *Raises* GraphFileError if the file cannot be written, and GraphError for contents that a graph file cannot hold, such as
    the values of large parameters, which belong in a safetensors file.
    """
    file = os.fspath(path)
    try:
        data = dumps(dag, fn, format_of(file)).encode("utf-8")
    except UnicodeEncodeError as error:
        raise GraphError(f"a string in the graph cannot be encoded as UTF-8: {error}", source=file) from error
    try:
        with replacing(file) as stream:
            stream.write(data)
    except (OSError, ValueError) as error:
        raise unwritable(file, error, GraphFileError, needed=len(data)) from error


def dumps(dag: nx.MultiDiGraph[Any], fn: Function, format: str = "yaml") -> str:  # noqa: A002 - the word users look for
    """Returns the text that `save` writes. *Raises* GraphError."""
    if format not in ("yaml", "json"):
        raise GraphFileError(f"unknown format {format!r}", todo="Use 'yaml' or 'json'.")
    return dump(model(dag, fn), format == "json")


def format_of(file: str) -> str:
    """Returns the format of a file by its extension. *Raises* GraphFileError for an unknown one."""
    extension = Path(file).suffix.lower()
    if extension not in FORMATS:
        raise GraphFileError(
            f"unknown extension {extension!r}", source=file, todo=f"Use one of the extensions {', '.join(FORMATS)}."
        )
    return FORMATS[extension]


# -- the model


def model(dag: nx.MultiDiGraph[Any], fn: Function) -> dict[str, Any]:
    """Converts a graph to plain data; ``fn`` is the function read from ``dag``. *Raises* GraphError, as `save` does."""
    data: dict[str, Any] = {"graphexec": 1}
    if fn.name != "graph":
        data["name"] = fn.name
    for name in dag:
        if not name or ":" in name or any("\ud800" <= c <= "\udfff" for c in name):
            raise GraphError(f"a graph file cannot contain the name {name!r}", node=name or None, todo="Rename it, without ':'.")
    for leaf in fn.leaves:
        data.setdefault(_SECTIONS[leaf.role], {})[leaf.name] = _WRITE[leaf.role](leaf)
    data = {k: data[k] for k in ("graphexec", "name", "inputs", "parameters", "constants") if k in data}
    data["nodes"] = {node.name: _node(node, fn.names) for node in fn.nodes}
    data["outputs"] = list(fn.outputs)
    train = dag.graph.get("train")
    written = [name for section in (*_SECTIONS.values(), "nodes") for name in data.get(section, ())]
    unused = _unused(dag, fn, train, written)
    if unused:
        data["unused"] = unused
    data.update({key: dag.graph[key] for key in ("gradients", "deltas") if key in dag.graph})
    if train is not None:
        data["train"] = train
    return data


def _type(leaf: Leaf) -> str:
    return leaf.dtype + (f"[{', '.join(map(str, leaf.shape))}]" if leaf.shape else "")


def _input(leaf: Leaf) -> Any:
    if leaf.value is not None:
        raise GraphError(f"the input {leaf.name!r} has a value", node=leaf.name, todo="Make it a parameter or a constant.")
    return _type(leaf)


def _parameter(leaf: Leaf) -> Any:
    fields: dict[str, Any] = {"type": _type(leaf)}
    if leaf.init not in (None, "zeros"):
        fields["init"] = leaf.init
    if leaf.value is not None and (leaf.value.size <= MAX_INLINE or leaf.init is None):
        fields["value"] = _array(leaf)
        if leaf.init is not None:
            fields["init"] = leaf.init
    if not leaf.trainable:
        fields["trainable"] = False
    return fields["type"] if len(fields) == 1 else fields


def _constant(leaf: Leaf) -> Any:
    value = _array(leaf)
    if not leaf.shape and leaf.dtype in ("float32", "int64", "bool") and np.isfinite(value):
        return value
    return {"type": _type(leaf), "value": value}


_WRITE = {"input": _input, "parameter": _parameter, "constant": _constant}


def _array(leaf: Leaf) -> Any:
    assert leaf.value is not None
    if leaf.value.size > MAX_INLINE:
        raise GraphError(
            f"the {leaf.role} {leaf.name!r} has {leaf.value.size} elements; a graph file holds at most {MAX_INLINE}",
            node=leaf.name,
            todo="Give it init= instead of a value, and save the weights separately: exe.save('weights.safetensors').",
        )
    return _rounded(leaf.value.tolist()) if leaf.dtype == "float32" else leaf.value.tolist()


def _rounded(value: Any) -> Any:
    """The shortest text that reads back as the same float32: 0.1, not 0.10000000149011612."""
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    short = float(str(np.float32(value)))
    return short if np.float32(short) == np.float32(value) else value


def _node(node: Node, names: list[str]) -> Any:
    attributes = node.op.non_defaults(node.attributes)
    inputs = [None if v == ABSENT else names[v] for v in node.inputs]
    if all(i is None or (NAME.fullmatch(i) and i not in WORDS) for i in inputs) and NAME.fullmatch(node.op.name):
        arguments = [*_operands(node, inputs), *(f"{k}={literal_text(v)}" for k, v in attributes.items())]
        return f"{node.op.name}({', '.join(arguments)})"
    return {"op": node.op.name, "inputs": inputs, **({"attributes": attributes} if attributes else {})}


def _operands(node: Node, inputs: list[str | None]) -> list[str]:
    """Lists the operands; those after an omitted one by name."""
    gap = inputs.index(None) if None in inputs else len(inputs)
    return [*map(str, inputs[:gap]), *(f"{node.op.inputs[k]}={i}" for k, i in enumerate(inputs) if k > gap and i is not None)]


def literal_text(value: Any) -> str:
    """Writes the value of an attribute as a literal in a call."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(literal_text, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _derivatives(dag: nx.MultiDiGraph[Any]) -> list[str]:
    return [value for key in ("gradients", "deltas") for value in dag.graph.get(key, {}).values()]


def _unused(dag: nx.MultiDiGraph[Any], fn: Function, train: Any, written: list[str]) -> list[str]:
    read = {name if name in dag else name.rpartition(":")[0] for name in (*fn.outputs, *_derivatives(dag))}
    if train:
        read |= _read_by_training(dag, train)
    return [name for name in written if not dag._succ[name] and name not in read]


def _read_by_training(dag: nx.MultiDiGraph[Any], train: Mapping[str, Any]) -> set[str]:
    """Returns the nodes that a train section reads: its loss and the values named by its metrics."""
    names = [train["loss"]] if "loss" in train else []
    for metric in train.get("metrics", {}).values():
        is_call = metric not in dag and "(" in metric
        names += read_call(Page("train", ""), Scalar(metric, False, 0)).names() if is_call else [metric]
    return {name if name in dag else name.rpartition(":")[0] for name in names}


# -- formatting


def dump(data: dict[str, Any], as_json: bool) -> str:
    """Formats the model as text: sections with one entry per line."""
    return _dump_json(data) if as_json else _dump_yaml(data)


def _dump_yaml(data: dict[str, Any]) -> str:
    lines = []
    for key, value in data.items():
        if isinstance(value, dict) and value:
            lines.append(f"{key}:")
            lines += [_entry(k, v) for k, v in value.items()]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any) -> str:
    written = value if isinstance(value, str) and _plain_in_block(value) else _flow(value)
    name = _text(key)
    return f"  {name}: {written}" if len(name) < 900 else f"  ? {name}\n  : {written}"  # YAML requires ? for keys longer than 1024


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ((_text(k), _flow(v)) for k, v in value.items())
        return "{" + ", ".join(f"{k}: {v}" if len(k) < 900 else f"? {k} : {v}" for k, v in pairs) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return _float(value)
    return json.dumps(value)


def _float(value: float) -> str:
    if value != value:
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    mantissa, e, exponent = repr(value).partition("e")
    return repr(value) if not e or "." in mantissa else f"{mantissa}.0e{exponent}"  # YAML 1.1 reads 1e-08 as a string


_SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_./]*(?:-[A-Za-z0-9_./]+)*")
_WORDLIKE = {"null", "true", "false", "yes", "no", "on", "off"}  # other YAML readers convert these


def _text(value: str) -> str:
    if _SAFE.fullmatch(value) and value.lower() not in _WORDLIKE:
        return value
    return _quoted(value)


def _quoted(value: str) -> str:
    return '"' + "".join(_escaped(c) for c in value) + '"'


def _escaped(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    if c.isprintable():
        return c
    return f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"


def _plain_in_block(value: str) -> bool:
    """Whether a call or a type, such as ``float32[batch, 2]``, needs no quotes in block style."""
    return (
        value.endswith((")", "]")) and value[0].isalpha() and value.isprintable()
        and ": " not in value and " #" not in value and len(value) < 100_000
    )  # fmt: skip


def _dump_json(data: dict[str, Any]) -> str:
    parts = []
    for key, value in data.items():
        if isinstance(value, dict) and value:
            entries = (f"    {_json(k)}: {_json(_finite(v, key == 'nodes'))}" for k, v in value.items())
            parts.append(f"  {_json(key)}: {{\n" + ",\n".join(entries) + "\n  }")
        else:
            parts.append(f"  {_json(key)}: {_json(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _finite(value: Any, attribute: bool) -> Any:
    """Replaces nan and inf, which JSON lacks: by strings in arrays, by ``{"float": "nan"}`` in attributes."""
    if isinstance(value, dict):
        return {k: _finite(v, attribute) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v, attribute) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"float": str(value)} if attribute else str(value)
    return value
