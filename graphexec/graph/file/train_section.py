"""Reads and checks the ``train:`` section of a graph file.

``graph.dag.graph["train"]`` holds it as plain data. ``data``, and ``hold_out`` unless it is a number, always have the form
``{"file": path, "inputs": {input: array}}`` or, with one file for each input, ``{"inputs": {input: path}}``. Paths stay as
written, relative to ``graph.dag.graph["directory"]``.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from graphexec.graph.file.build import GraphBuilder
from graphexec.graph.file.calls import Call, Literal, read_call
from graphexec.graph.file.fields import boolean, call_or_name, integer, mapping, text
from graphexec.graph.file.tree import Item, Mapping, Page, Scalar, Sequence, kind_name, resolve
from graphexec.graph.file.validate import check_graph
from graphexec.graph.graph import Graph
from graphexec.ir.function import Function
from graphexec.ir.op import Op
from graphexec.ir.registry import registry
from graphexec.ir.spec import TensorSpec
from graphexec.optim.optimizers import Optimizer
from graphexec.options import SQUARE_ROOT

KEYS = ("loss", "optimizer", "data", "hold_out", "metrics", "epochs", "batch_size", "seed", "shuffle", "allow_nan", "recompute")


@dataclass
class Train:
    """The section as plain data, the nodes that it reads, the metrics that are calls, and the scalars with their lines."""

    settings: dict[str, Any]
    reads: set[str] = field(default_factory=set)
    calls: dict[str, Call] = field(default_factory=dict)
    scalars: dict[str, tuple[str, int]] = field(default_factory=dict)

    def check(self, builder: GraphBuilder, fn: Function) -> None:
        """Checks that loss and metrics are scalars. *Raises* GraphFileError, and the errors of the ops in a metric's call."""
        ids = {name: k for k, name in enumerate(fn.names)}
        for what, (name, line) in self.scalars.items():
            _refuse_array(builder.page, fn.specs[ids[name]], what, name, line)
        if not self.calls:
            return
        extended = GraphBuilder(builder.page, builder.graph.copy())
        extended.lines = dict(builder.lines)
        names = add_metrics(extended, self.calls)
        fn = check_graph(extended)
        ids = {name: k for k, name in enumerate(fn.names)}
        for metric, name in names.items():
            _refuse_array(builder.page, fn.specs[ids[name]], f"metric {metric!r}", name, self.calls[metric].line)


def _refuse_array(page: Page, spec: TensorSpec, what: str, name: str, line: int) -> None:
    if spec.shape != ():
        page.fail(
            line,
            f"the {what} must be a scalar, but {name!r} has shape {spec}",
            todo="Sum it, or take the mean.",
        )


def read_train(page: Page, item: Item, builder: GraphBuilder) -> Train:
    """Reads the section and checks it against the graph's names. *Raises* GraphFileError."""
    section = mapping(page, item, "train", KEYS, ("loss",)).items
    train = Train({})
    readers: dict[str, Callable[[Item], Any]] = {
        "loss": lambda i: _value(i, "loss", train, builder),
        "optimizer": lambda i: _optimizer(page, i, builder),
        "data": lambda i: _data(page, i, "data", builder),
        "hold_out": lambda i: _hold_out(page, i, builder),
        "metrics": lambda i: _metrics(page, i, train, builder),
        "epochs": lambda i: integer(page, i, "epochs", 0),
        "batch_size": lambda i: integer(page, i, "batch_size", 1),
        "seed": lambda i: integer(page, i, "seed", 0),
        "shuffle": lambda i: boolean(page, i, "shuffle"),
        "allow_nan": lambda i: boolean(page, i, "allow_nan"),
        "recompute": lambda i: _recompute(page, i, builder),
    }
    for key, value in section.items():
        train.settings[key] = readers[key](value)
    return train


def _value(item: Item, what: str, train: Train, builder: GraphBuilder) -> str:
    name = text(builder.page, item, what)
    source, _ = builder.known_output(name, item.line)
    train.reads.add(source)
    train.scalars[what] = name, item.line
    return name


def _optimizer(page: Page, item: Item, builder: GraphBuilder) -> str:
    call = call_or_name(page, item, "optimizer")
    op = builder.op(call.op, None, call.line)
    if not _is_update_rule(op):
        known = [n for n in registry.names() if _is_update_rule(registry.get(n))]
        page.unknown(call.line, "this op is not an update rule:", call.op, known)
    given: dict[str, Any] = {}
    for key, argument in call.arguments:
        if key is None or not isinstance(argument, Literal):
            page.fail(
                argument.line,
                f"optimizer: write its settings as {op.name}(lr=0.1)",
                facts=[f"settings: {', '.join(op.attributes)}"],
            )
        if key in given:
            page.fail(argument.line, f"optimizer: {key!r} is given twice")
        if key not in op.attributes:
            page.unknown(argument.line, f"{op.name} has no setting", key, op.attributes)
        given[key] = argument.value
    builder.guarded(lambda: Optimizer(op.name, **given), None, call.line)
    return text(page, item, "optimizer")


def _is_update_rule(op: Op) -> bool:
    """Whether the op takes a parameter, which it overwrites, and a gradient."""
    return len(op.inputs) > 1 and op.updates[:1] == op.inputs[:1]


def _data(page: Page, item: Item, what: str, builder: GraphBuilder) -> dict[str, Any]:
    """Reads ``FILE``, ``{file: FILE, inputs: {input: array}}``, ``{inputs: {input: FILE}}`` or ``{input: FILE}``."""
    if isinstance(item, Scalar):
        return {"file": _path(page, item, what)}
    fields = mapping(page, item, what)
    if fields.items and not {"file", "inputs"} & fields.items.keys() and all(_is_input(builder, k) for k in fields.items):
        return {"inputs": _per_input(page, fields, what, builder)}
    fields = mapping(page, item, what, ("file", "inputs"))
    if not fields.items:
        page.fail(item.line, f"{what} names no file", todo="Write {file: data.npz}.")
    data: dict[str, Any] = {"file": _path(page, fields.items["file"], f"file of {what}")} if "file" in fields.items else {}
    if "inputs" in fields.items:
        data["inputs"] = _per_input(page, mapping(page, fields.items["inputs"], f"inputs of {what}"), what, builder)
    return data


def _is_input(builder: GraphBuilder, name: str) -> bool:
    return name in builder.dag and builder.dag.nodes[name]["op"] == "input"


def _per_input(page: Page, fields: Mapping, what: str, builder: GraphBuilder) -> dict[str, str]:
    inputs = dict.fromkeys(n for n, d in builder.dag.nodes(data=True) if d["op"] == "input")
    for name, line in fields.lines.items():
        if name not in inputs:
            page.unknown(line, f"{what}: the graph has no input", name, inputs)
    return {name: _path(page, given, f"{what} of input {name!r}") for name, given in fields.items.items()}


def _path(page: Page, item: Item, what: str) -> str:
    path = text(page, item, what)
    if not path or "\0" in path:
        page.fail(item.line, f"{what}: {path!r} is not a file name")
    return path


def _hold_out(page: Page, item: Item, builder: GraphBuilder) -> float | int | dict[str, Any]:
    value = resolve(page, item) if isinstance(item, Scalar) else None
    if isinstance(item, Mapping) or isinstance(value, str):
        return _data(page, item, "hold_out", builder)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        page.fail(item.line, f"hold_out must be a fraction from 0 to below 1, or data, not {kind_name(page, item)}")
    return value


def _recompute(page: Page, item: Item, builder: GraphBuilder) -> int | str | list[str]:
    """Reads a number of segments, ``sqrt``, or a list of the values to keep."""
    if isinstance(item, Sequence):
        names = [text(page, i, "a value of recompute") for i in item.items]
        for name, given in zip(names, item.items, strict=True):
            builder.known_output(name, given.line)
        return names
    value = resolve(page, item) if isinstance(item, Scalar) else None
    if value == SQUARE_ROOT or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        assert isinstance(value, (int, str))
        return value
    page.fail(
        item.line,
        f"recompute must be a whole number from 1, not {kind_name(page, item)}",
        todo="Write a number of segments, sqrt, or the list of the values to keep.",
    )


def _metrics(page: Page, item: Item, train: Train, builder: GraphBuilder) -> dict[str, str]:
    section = mapping(page, item, "metrics")
    metrics = {}
    for name, given in section.items.items():
        written = metrics[name] = text(page, given, f"metric {name!r}")
        if written in builder.dag or "(" not in written:
            _value(given, f"metric {name!r}", train, builder)
            continue
        assert isinstance(given, Scalar)
        builder.declare(_node_name(name), section.lines[name]) if ":" in name else None
        call = train.calls[name] = read_call(page, given)
        for reference in call.names():
            train.reads.add(builder.resolve(reference, given.line)[0])
    return metrics


def metric_values(graph: Graph, train: abc.Mapping[str, Any]) -> dict[str, str]:
    """Maps each metric of a train section to the name of its value; adds metrics that are calls to the graph.

    Pass a copy of a graph that must not change. The node of a metric is named ``metrics.NAME``.
    *Raises* GraphFileError, OpError, ShapeError and similar errors for a metric that does not fit the graph.
    """
    metrics: abc.Mapping[str, str] = train.get("metrics", {})
    calls = {}
    page = Page("train.metrics", "")
    for name, written in metrics.items():
        if written not in graph.dag and "(" in written:
            calls[name] = read_call(page, Scalar(written, False, 0))
    builder = GraphBuilder(page, graph)
    builder.lines = dict.fromkeys(graph.dag, 0)
    added = add_metrics(builder, calls)
    if calls:
        check_graph(builder)
    for name, written in metrics.items():
        if name not in added:
            builder.known_output(written, 0)
    return {name: added.get(name, written) for name, written in metrics.items()}


def add_metrics(builder: GraphBuilder, calls: abc.Mapping[str, Call]) -> dict[str, str]:
    """Adds the nodes of metrics; returns their names by metric."""
    names = {}
    for metric, call in calls.items():
        base = _node_name(metric)
        if base in builder.lines:
            names[metric] = builder.call_node(base, call)
        else:
            builder.declare(base, call.line)
            names[metric] = builder.call_node(base, call, base)
    builder.connect()
    return names


def _node_name(metric: str) -> str:
    return f"metrics.{metric}"
