"""Translates a graph's NetworkX dag into a `Function`: nodes in deterministic topological order, values as integers.

Later stages do not use NetworkX, because each step of a walk costs microseconds. Every compilation translates the dag again,
so the two cannot diverge.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np

from graphexec.errors import CycleError, DtypeError, GraphError, GraphExecError
from graphexec.ir.convert import as_array, converted
from graphexec.ir.function import ABSENT, LEAVES, Function, Leaf, Node, unknown_name, value_name
from graphexec.ir.op import Op
from graphexec.ir.registry import registry
from graphexec.ir.spec import check_dtype, check_shape


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
        if data[name].get("op") not in LEAVES:
            computed.append(name)
            continue
        first[name] = len(names)
        leaves.append(_leaf(name, data[name], len(names), dag))
        names.append(name)
    for name in computed:
        attributes = data[name]
        op = _op(name, attributes)
        inputs = _operands(name, op, dag, first, data, attributes.get("source"))
        first[name] = begin = len(names)
        names.append(name)
        if len(op.outputs) > 1:
            names.extend(value_name(name, k) for k in range(1, len(op.outputs)))
        given = attributes.get("attributes")
        try:
            checked = op.check_attributes(given or {}) if given or op.attributes else {}
        except GraphExecError as error:
            raise error.at(node=name, op=op.name, source=attributes.get("source")) from None
        nodes.append(Node(name, op, inputs, tuple(range(begin, len(names))), checked, attributes.get("source")))
    outputs = {str(o): _output(str(o), first, names) for o in dag.graph.get("outputs", ())}
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
        cycle = [str(edge[0]) for edge in nx.find_cycle(dag)]
        raise CycleError(
            "the graph has a cycle", node=cycle[0], source=dag.nodes[cycle[0]].get("source"),
            facts=[" -> ".join([*cycle, cycle[0]])], todo="Remove one of these edges.",
        )
    return out


def _leaf(name: str, data: Mapping[str, Any], value_id: int, dag: nx.MultiDiGraph[Any]) -> Leaf:
    source = data.get("source")
    if dag._pred[name]:
        raise GraphError(f"{data['op']} {name!r} has an operand", node=name, source=source, todo="Remove the edge into it.")
    value = data.get("value")
    if value is not None and (type(value) is not np.ndarray or value.dtype != data.get("dtype")):
        value = _value(name, value, data)
    if value is None and ("shape" not in data or data["op"] == "constant"):
        need = "value" if data["op"] == "constant" else "shape"
        raise GraphError(f"{data['op']} {name!r} has no {need}", node=name, source=source, todo=f"Give the node {need}=...")
    try:
        shape = check_shape(data["shape"]) if value is None else value.shape
        dtype = check_dtype(data.get("dtype", "float32") if value is None else value.dtype)
    except GraphExecError as error:
        raise error.at(node=name, source=source) from None
    return Leaf(name, data["op"], value_id, shape, dtype, value, data.get("init"), data.get("trainable", True), source)


def _value(name: str, value: Any, data: Mapping[str, Any]) -> np.ndarray:
    """The array of a leaf's value, in its declared type if there is one."""
    try:
        array = as_array(value, "its value", DtypeError)
        return array if data.get("dtype") is None else converted(array, check_dtype(data["dtype"]), "its value", DtypeError)
    except DtypeError as error:
        raise error.at(node=name, source=data.get("source")) from error.__cause__


def _op(name: str, data: Mapping[str, Any]) -> Op:
    op = data.get("op")
    if op is None:
        raise GraphError(f"node {name!r} has no op", node=name, source=data.get("source"), todo="Give it op='...', or remove it.")
    try:
        return registry.get(op)
    except GraphExecError as error:
        raise error.at(node=name, op=op, source=data.get("source")) from None


def _output_count(data: Mapping[str, Any]) -> int:
    return 1 if data["op"] in LEAVES else len(registry.get(data["op"]).outputs)


def _operands(
    name: str, op: Op, dag: nx.MultiDiGraph[Any], first: Mapping[str, int], data: Mapping[str, Any], source: str | None
) -> tuple[int, ...]:
    slots: dict[int, int] = {}
    for reads, edges in dag._pred[name].items():
        for key, edge in edges.items():
            slot = key if isinstance(key, int) else op.inputs.index(key) if key in op.inputs else None
            if slot is None or slot < 0 or slot in slots:
                what = "feeds an operand a second time:" if slot in slots else "feeds an unknown operand:"
                raise GraphError(
                    f"edge {reads!r} -> {name!r} {what} {key!r}", node=name, op=op.name, source=source,
                    facts=[f"{op.name} takes {op.signature}"],
                    todo="Key each edge by the operand slot it feeds: add_edge(source, node, key=0), key=1, ...",
                )
            output = edge.get("output", 0) if edge else 0
            if output and not 0 <= output < (count := _output_count(data[reads])):
                raise GraphError(
                    f"edge {reads!r} -> {name!r} takes output {output}, but {reads!r} has {count}", node=name, op=op.name,
                    source=source, todo="Number outputs from 0.",
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
