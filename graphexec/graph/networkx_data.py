"""Reads what users write on the nodes, the edges and the graph itself with NetworkX, and takes over whole NetworkX graphs.

A key that nothing reads is refused, with the nearest right name, because an ignored ``axis=`` would silently give other numbers.
Keys that begin with an underscore are the user's own notes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from graphexec.errors import GraphError, GraphExecError, did_you_mean, with_hint
from graphexec.ir.declare import Declaration
from graphexec.ir.function import LEAVES
from graphexec.ir.op import Op
from graphexec.ir.registry import registry

if TYPE_CHECKING:
    import networkx as nx

NODE_KEYS = frozenset({"op", "attributes", "source"})
LEAF_KEYS = frozenset({"op", "shape", "dtype", "value", "init", "trainable", "source", "attributes"})
EDGE_KEYS = frozenset({"output", "slot"})
GRAPH_KEYS = ("name", "outputs", "train", "directory", "gradients", "deltas")


# -- nodes


def role_of(data: Mapping[str, Any]) -> str | None:
    """The role of a leaf; None for a node."""
    op = data.get("op")
    return op if isinstance(op, str) and op in LEAVES else None


def op_of(name: str, data: Mapping[str, Any]) -> Op:
    """The op of a node. *Raises* GraphError if it names none, and OpError for an unknown op or one that only the engine uses."""
    op, source = data.get("op"), data.get("source")
    if type(op) is not str:
        op = _op_name(name, op, source)
    try:
        return registry.of_node(op)
    except GraphExecError as error:
        raise error.at(node=name, op=op, source=source) from None


def _op_name(name: str, op: Any, source: str | None) -> str:
    found = op.op if isinstance(op, Declaration) else op
    if isinstance(found, Op):
        if found.name in registry and registry.get(found.name) is not found:
            raise GraphError(
                f"the op {found.name!r} of node {name!r} is not the one registered under that name", node=name, source=source,
                todo="Register it: gx.register(op).",
            )
        return found.name
    if op is None:
        raise GraphError(f"node {name!r} has no op", node=name, source=source, todo="Give it op='...', or remove it.")
    if not isinstance(op, str):
        raise GraphError(
            f"node {name!r}: op is {op!r:.60}, neither the name of an op nor an op", node=name, source=source,
            todo="Write op='tanh', for example.",
        )
    return str(op)


def attributes_of(name: str, op: Op, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes of a node: those under ``attributes``, and those that stand beside ``op``. *Raises* GraphError."""
    given = data.get("attributes")
    if given is not None and not isinstance(given, Mapping):
        _refuse(name, op, data, f"attributes of node {name!r} is {given!r:.60}, not a mapping", "Write attributes={'axis': 0}.")
    if data.keys() <= NODE_KEYS:
        return given or {}
    attributes = dict(given or {})
    for key in data.keys() - NODE_KEYS:
        if key in attributes:
            _refuse(name, op, data, f"node {name!r} has {key!r} twice, beside op and in attributes", "Remove one of them.")
        if key in op.attributes:
            attributes[key] = data[key]
        elif key not in LEAF_KEYS and not _is_note(key):  # composing graphs leaves a leaf's keys in a node of its name
            known = [*op.attributes, *NODE_KEYS]
            what = with_hint(f"node {name!r} has the unknown key {key!r}", str(key), known)
            _refuse(name, op, data, what, _unknown_todo(f"{op.name} takes {op.signature}"))
    return attributes


def check_leaf(name: str, data: Mapping[str, Any]) -> None:
    """*Raises* GraphError for a key of a leaf that nothing reads, or a value of the wrong type."""
    for key in data.keys() - LEAF_KEYS:
        if not _is_note(key):
            what = with_hint(f"{data['op']} {name!r} has the unknown key {key!r}", str(key), LEAF_KEYS)
            _refuse(name, None, data, what, _unknown_todo("A leaf has shape, dtype, value, init and trainable"))
    for key, kind in (("trainable", (bool, np.bool_)), ("init", (str, type(None))), ("source", (str, type(None)))):
        if key in data and not isinstance(data[key], kind):
            what = f"{key} of {data['op']} {name!r} is {data[key]!r:.60}"
            _refuse(name, None, data, what, "Write trainable=False, init='zeros'.")
    if data.get("attributes"):
        _refuse(name, None, data, f"{data['op']} {name!r} has attributes", "Write shape= and dtype= beside op.")


def shape_of(shape: Any) -> Any:
    """A declared shape; text such as ``"batch, 2"``, which file formats without lists need, becomes its parts."""
    if not isinstance(shape, str) or shape.isidentifier():
        return shape
    parts = [part.strip(" '\"") for part in shape.strip(" ()[]").split(",")]
    return [int(part) if part.isascii() and part.isdigit() and len(part) < 16 else part for part in parts if part]


def _is_note(key: Any) -> bool:
    return isinstance(key, str) and key.startswith("_")


def _unknown_todo(first: str) -> str:
    return f"{first}. Remove the key; begin your own notes with '_'."


def _refuse(name: str, op: Op | None, data: Mapping[str, Any], what: str, todo: str) -> NoReturn:
    source = data.get("source")
    raise GraphError(what, node=name, op=op.name if op else None, source=source if isinstance(source, str) else None, todo=todo)


def op_names(dag: nx.MultiDiGraph[Any]) -> Iterator[str]:
    """Names of ops in a graph: those of its nodes, and every word of its train section, which names metrics and an optimizer."""
    for _, data in dag.nodes(data=True):
        op = data.get("op")
        yield str(getattr(op, "name", getattr(op, "__name__", op)))
    waiting = [dag.graph.get("train")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [*value, *value.values()]
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, str):
            yield from re.findall(r"\w+", value)


# -- edges


def slot_of(key: Any, edge: Mapping[str, Any], op: Op) -> int | None:
    """The operand slot that an edge feeds: an integer, digits, or an operand's name; None if it is none of the op's."""
    key = edge.get("slot", key) if edge else key
    if type(key) is int:
        return key
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return int(key)
    if isinstance(key, str):
        if key in op.inputs and not op.variadic:
            return op.inputs.index(key)
        if key.isascii() and key.isdigit() and len(key) < 10:
            return int(key)
    return None


def output_of(edge: Mapping[str, Any]) -> int | None:
    """The output of its source that an edge takes, by default the first; None if it is not a number."""
    output = edge.get("output", 0)
    if isinstance(output, str) and output.isascii() and output.isdigit() and len(output) < 10:
        return int(output)
    return int(output) if isinstance(output, (int, np.integer)) and not isinstance(output, bool) else None


def unknown_edge_key(edge: Mapping[str, Any]) -> str | None:
    """Says which key of an edge nothing reads; None if there is none."""
    for key in edge.keys() - EDGE_KEYS:
        if not _is_note(key):
            return with_hint(f"has the unknown key {key!r}", str(key), EDGE_KEYS)
    return None


# -- the graph


def output_names(dag: nx.MultiDiGraph[Any]) -> list[str]:
    """The names under ``dag.graph["outputs"]``, each once. *Raises* GraphError if they are not names."""
    given = dag.graph.get("outputs")
    if isinstance(given, str):
        given = [given] if given in dag else [part.strip() for part in given.split(",")]
    if given is None:
        return []
    if not isinstance(given, Iterable) or isinstance(given, (bytes, Mapping)):
        raise GraphError(f"outputs is {given!r:.60}, not a list of names", todo="Write dag.graph['outputs'] = ['y'].")
    return list(dict.fromkeys(str(getattr(o, "name", o)) for o in given))


def taken_over(dag: nx.DiGraph[Any]) -> nx.MultiDiGraph[Any]:
    """A copy of a NetworkX graph in which names are strings and edges have slots; it shares nothing that can change.

    *Raises* GraphError if two names are equal as strings, an edge does not say which operand it feeds, or a key of the graph is
    almost one that is read.
    """
    for key in dag.graph:
        if key not in GRAPH_KEYS and did_you_mean(str(key).lower(), GRAPH_KEYS[:2]):
            raise GraphError(with_hint(f"the graph has the unknown key {key!r}", str(key), GRAPH_KEYS), todo="Correct its name.")
    names: dict[Any, str] = {node: str(node) for node in dag}
    if len(set(names.values())) < len(names):
        twice = sorted(names, key=lambda n: (names[n], isinstance(n, str)))
        first, second = next((a, b) for a, b in itertools.pairwise(twice) if names[a] == names[b])
        raise GraphError(f"the nodes {first!r} and {second!r} have one name, {str(first)!r}", todo="Rename one of them.")
    import networkx as nx

    copy: nx.MultiDiGraph[Any] = nx.MultiDiGraph()
    copy.graph.update({k: _own(v) for k, v in dag.graph.items()})
    for node, data in dag.nodes(data=True):
        if not names[node] or ":" in names[node]:
            raise GraphError(f"{names[node]!r} is not a name", todo="Use a non-empty string without ':', which selects an output.")
        copy.add_node(names[node])
        copy.nodes[names[node]].update({k: _own(v) for k, v in data.items()})
    if dag.is_multigraph():
        for source, target, key, data in dag.edges(keys=True, data=True):
            rest = {k: v for k, v in data.items() if k != "slot"}
            _add_edge(copy, names[source], names[target], data.get("slot", key), rest)
    else:
        _add_plain_edges(copy, dag, names)
    return copy


def _add_plain_edges(copy: nx.MultiDiGraph[Any], dag: nx.DiGraph[Any], names: Mapping[Any, str]) -> None:
    """Adds the edges of a DiGraph, whose slots are data."""
    for node in dag:
        sources = list(dag.pred[node].items())
        for source, data in sources:
            if "slot" not in data and len(sources) > 1:
                raise GraphError(
                    f"edge {names[source]!r} -> {names[node]!r} does not say which operand it feeds", node=names[node],
                    todo="Give each edge slot=0, 1, ... (or the operand's name), or use a MultiDiGraph with key=slot.",
                )
            rest = {k: v for k, v in data.items() if k != "slot"}
            _add_edge(copy, names[source], names[node], data.get("slot", 0), rest)


def _add_edge(copy: nx.MultiDiGraph[Any], source: str, target: str, key: Any, data: Mapping[str, Any]) -> None:
    try:
        again = copy.has_edge(source, target, key)
    except TypeError:  # an unhashable slot
        raise GraphError(f"edge {source!r} -> {target!r} has the slot {key!r:.60}", todo="A slot is a number or a name.") from None
    if again:
        raise GraphError(f"two edges {source!r} -> {target!r} have the slot {key!r}", node=target, todo="Number slots from 0.")
    copy.add_edge(source, target, key=key)
    copy[source][target][key].update(data)


def independent(dag: nx.MultiDiGraph[Any]) -> nx.MultiDiGraph[Any]:
    """A copy of a dag that can be changed independently; it shares arrays, which are never changed in place."""
    copy = dag.copy()
    copy.graph = {k: _own(v) for k, v in dag.graph.items()}
    for data in copy._node.values():
        if "attributes" in data:
            data["attributes"] = _own(data["attributes"])
    return copy


def _own(value: Any) -> Any:
    """Copies what the caller could change later."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {k: _own(v) for k, v in value.items()}
    return [_own(v) for v in value] if isinstance(value, list) else value


def unread(dag: nx.MultiDiGraph[Any], read: Iterable[str]) -> str | None:
    """The first node that is neither read by another one nor among the names in ``read``; leaves are not counted."""
    used = {name if name in dag else name.rpartition(":")[0] for name in read}
    for name, readers in dag._succ.items():
        if not readers and name not in used and role_of(dag._node[name]) is None:
            return str(name)
    return None
