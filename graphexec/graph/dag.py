"""Translates a graph's NetworkX dag into a `Function`: nodes in deterministic topological order, values as integers.

Later stages do not use NetworkX, because each step of a walk costs microseconds. Every compilation translates the dag again,
so the two cannot diverge.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphexec.errors import CycleError, DtypeError, GraphError, GraphExecError
from graphexec.graph.networkx_data import (
    LEAF_KEYS,
    attributes_of,
    check_leaf,
    op_of,
    output_names,
    output_of,
    role_of,
    shape_of,
    slot_of,
    unknown_edge_key,
)
from graphexec.ir.convert import as_array, converted
from graphexec.ir.function import ABSENT, Function, Leaf, Node, unknown_name, value_name
from graphexec.ir.op import Op
from graphexec.ir.spec import TensorSpec, check_dtype, check_shape, check_size

if TYPE_CHECKING:
    import networkx as nx

_CYCLE_SHOWN = 20
_PLAIN_LEAF = LEAF_KEYS - {"trainable", "init", "attributes", "source"}


def to_function(dag: nx.MultiDiGraph[Any], title: str) -> Function:
    """Translates the dag of a graph. *Raises* CycleError, GraphError or OpError if it is not well formed."""
    leaves: list[Leaf] = []
    nodes: list[Node] = []
    names: list[str] = []
    first: dict[str, int] = {}
    sequence = topological(dag)
    data = dag._node
    computed = []
    for name in sequence:
        if type(name) is not str:
            raise GraphError(f"the name {name!r:.60} is not a string", todo="Relabel it, or use Graph.from_networkx.")
        if role_of(data[name]) is None:
            computed.append(name)
            continue
        first[name] = len(names)
        leaves.append(_leaf(name, data[name], len(names), dag))
        names.append(name)
    for name in computed:
        attributes = data[name]
        op = op_of(name, attributes)
        inputs = _operands(name, op, dag, first, data, attributes.get("source"))
        first[name] = begin = len(names)
        names.append(name)
        if len(op.outputs) > 1:
            names.extend(value_name(name, k) for k in range(1, len(op.outputs)))
        given = attributes_of(name, op, attributes)
        try:
            checked = op.check_attributes(given) if given or op.attributes else {}
        except GraphExecError as error:
            raise error.at(node=name, op=op.name, source=attributes.get("source")) from None
        nodes.append(Node(name, op, inputs, tuple(range(begin, len(names))), checked, attributes.get("source")))
    outputs = {o: _output(o, first, names) for o in output_names(dag)}
    return Function(title, leaves, nodes, names, outputs)


def topological(dag: nx.MultiDiGraph[Any]) -> list[str]:
    """Sorts the nodes topologically; among ready nodes, the one added first comes first.

    An insertion order that is already topological is kept. *Raises* CycleError with the nodes of a cycle.
    """
    pred = dag._pred
    seen: set[str] = set()
    for name, sources in pred.items():
        if not seen.issuperset(sources):
            break
        seen.add(name)
    else:
        return list(pred)
    rank = {name: k for k, name in enumerate(pred)}
    waiting = {name: len(sources) for name, sources in pred.items()}
    ready = [rank[name] for name, n in waiting.items() if n == 0]
    by_rank, succ, out = list(pred), dag._succ, []
    heapq.heapify(ready)
    while ready:
        name = by_rank[heapq.heappop(ready)]
        out.append(name)
        for reader in succ[name]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, rank[reader])
    if len(out) < len(rank):
        cycle = _cycle_among(dag, [name for name, n in waiting.items() if n > 0])
        shown = cycle if len(cycle) <= _CYCLE_SHOWN else [*cycle[:_CYCLE_SHOWN], f"... and {len(cycle) - _CYCLE_SHOWN} more"]
        error = CycleError(
            "the graph has a cycle", node=cycle[0], source=dag.nodes[cycle[0]].get("source"),
            facts=[" -> ".join([*shown, cycle[0]])], todo="Remove one of these edges.",
        )
        error.nodes = cycle
        raise error
    return out


def _cycle_among(dag: nx.MultiDiGraph[Any], names: Sequence[str]) -> list[str]:
    """The nodes of a cycle, each read by the next; each of ``names`` has a predecessor among them."""
    inside, name, place, path = set(names), names[0], dict[str, int](), list[str]()
    while name not in place:
        place[name] = len(path)
        path.append(name)
        name = next(p for p in dag._pred[name] if p in inside)
    return path[place[name] :][::-1]


def _leaf(name: str, data: Mapping[str, Any], value_id: int, dag: nx.MultiDiGraph[Any]) -> Leaf:
    source = data.get("source")
    if dag._pred[name]:
        raise GraphError(f"{data['op']} {name!r} has an operand", node=name, source=source, todo="Remove the edge into it.")
    if not LEAF_KEYS.issuperset(data) or not _PLAIN_LEAF.issuperset(data):
        check_leaf(name, data)
    value = data.get("value")
    if value is not None:
        value = _array(name, value, data)
    if value is None and ("shape" not in data or data["op"] == "constant"):
        need = "value" if data["op"] == "constant" else "shape"
        raise GraphError(f"{data['op']} {name!r} has no {need}", node=name, source=source, todo=f"Give the node {need}=...")
    try:
        shape = check_shape(shape_of(data["shape"])) if value is None else value.shape
        dtype = check_dtype(data.get("dtype", "float32") if value is None else value.dtype)
        check_size(TensorSpec(tuple(n for n in shape if isinstance(n, int)), dtype))
    except GraphExecError as error:
        raise error.at(node=name, source=source) from None
    return Leaf(name, data["op"], value_id, shape, dtype, value, data.get("init"), data.get("trainable", True), source)


def _array(name: str, value: Any, data: Mapping[str, Any]) -> np.ndarray:
    """The value of a leaf in its dtype. *Raises* DtypeError, and GraphError if it is not of the shape beside it."""
    source, dtype = data.get("source"), data.get("dtype")
    try:
        array: np.ndarray = value
        if type(value) is not np.ndarray or value.dtype != dtype:
            array = as_array(value, "its value", DtypeError)
            array = array if dtype is None else converted(array, check_dtype(dtype), "its value", DtypeError)
        agrees = data.get("shape") is None or check_shape(shape_of(data["shape"])) == array.shape
    except GraphExecError as error:
        raise error.at(node=name, source=source) from error.__cause__
    if not agrees:
        raise GraphError(
            f"{data['op']} {name!r}: value and shape disagree", node=name, source=source,
            facts=[f"value {array.shape}", f"shape {data['shape']}"], todo="Leave the shape out.",
        )
    return array


def _output_count(data: Mapping[str, Any]) -> int:
    return 1 if role_of(data) else len(op_of("", data).outputs)


def _operands(
    name: str, op: Op, dag: nx.MultiDiGraph[Any], first: Mapping[str, int], data: Mapping[str, Any], source: str | None
) -> tuple[int, ...]:
    slots: dict[int, int] = {}
    most = len(op.inputs) + sum(map(len, dag._pred[name].values()))  # above which no sensible operand lies
    for reads, edges in dag._pred[name].items():
        for key, edge in edges.items():
            slot = slot_of(key, edge, op)
            problem = unknown_edge_key(edge) if edge else None
            if slot is None or not 0 <= slot < most or slot in slots or problem:
                what = "feeds an operand a second time:" if slot in slots else "feeds an unknown operand:"
                raise GraphError(
                    f"edge {reads!r} -> {name!r} {problem or f'{what} {key!r}'}", node=name, op=op.name, source=source,
                    facts=[f"{op.name} takes {op.signature}"],
                    todo="Key each edge by the operand slot it feeds: add_edge(source, node, key=0), key=1, ...",
                )
            output = output_of(edge) if edge else 0
            if output is None or (output and not 0 <= output < _output_count(data[reads])):
                raise GraphError(
                    f"edge {reads!r} -> {name!r} takes output {edge['output']!r}, but {reads!r} has {_output_count(data[reads])}",
                    node=name, op=op.name, source=source, todo="Number outputs from 0.",
                )
            slots[slot] = first[reads] + output
    operands = tuple([slots.get(k, ABSENT) for k in range(max(slots, default=-1) + 1)])
    try:
        op.check_operands([v != ABSENT for v in operands])
        if op.variadic and ABSENT in operands:
            op.check_operands([])
    except GraphExecError as error:
        raise error.at(node=name, op=op.name, source=source) from None
    return operands


def _output(name: str, first: Mapping[str, int], names: Sequence[str]) -> int:
    node, _, output = name.rpartition(":")
    if name in first:
        return first[name]
    if node in first and output.isdigit() and first[node] + int(output) < len(names) and names[first[node] + int(output)] == name:
        return first[node] + int(output)
    raise unknown_name(name, names)
