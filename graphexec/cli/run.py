"""Implements the commands run, grad, check and show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphexec.cli import format as out
from graphexec.cli.session import Result, Session, Settings, check_target, load_weights, random_weights, write_npz
from graphexec.errors import DataError, GradientMismatch, GraphExecError
from graphexec.ir.spec import shape_text

if TYPE_CHECKING:
    from graphexec.executable import Executable
    from graphexec.graph.graph import Graph
    from graphexec.ir.function import Function

MAX_PRINTED_OUTPUT = 10
MAX_PRINTED_DELTA = 8
CHECKED_ROWS = 3


def run(path: str, settings: Settings, specs: Sequence[str], weights: str | None, output: str | None) -> Result:
    """Runs the forward pass for the outputs that the given inputs determine."""
    check_target(output, [".npz"])
    session = Session(path, settings)
    inputs = session.inputs(specs)
    graph, left_out = reached(session.graph, inputs)
    exe = session.compile(graph)
    untrained = [] if weights else random_weights(graph, session.seed)
    notes = load_weights(exe, weights) if weights else untrained
    results = exe({n: a for n, a in inputs.items() if n in graph.dag})
    for name, missing in left_out.items():
        notes.append(f"{name} is skipped: it needs {', '.join(missing)}")
    if output:
        write_npz(output, results)
        notes.append(f"wrote {output}: {', '.join(results)}")
    found = {name: out.summary(array, MAX_PRINTED_OUTPUT) for name, array in results.items()}
    return Result(_outputs_text(results, found), {"outputs": found, "random_weights": bool(untrained)}, session.notes + notes)


def reached(graph: Graph, inputs: Iterable[str]) -> tuple[Graph, dict[str, list[str]]]:
    """Cuts a graph down to the outputs whose inputs are all given; returns it, and the missing inputs of the other outputs.

    *Raises* DataError if no output remains.
    """
    import networkx as nx

    dag, given = graph.dag, set(inputs)
    missing = [n for n, d in dag.nodes(data=True) if d["op"] == "input" and n not in given]
    if not missing:
        return graph, {}
    node = {name: name if name in dag else name.rpartition(":")[0] for name in graph.outputs}
    needs = {name: nx.ancestors(dag, node[name]) | {node[name]} for name in graph.outputs}
    left_out = {name: [m for m in missing if m in needs[name]] for name in graph.outputs if not needs[name].isdisjoint(missing)}
    kept = [name for name in graph.outputs if name not in left_out]
    if not kept:
        raise DataError(
            f"input {missing[0]!r} is missing",
            facts=[f"every output needs one of: {', '.join(missing)}"],
            todo=" ".join(["Give", *(f"-i {n}=FILE" for n in missing)]) + ".",
        )
    part = graph.copy()
    part.dag.remove_nodes_from([n for n in dag if not any(n in needs[name] for name in kept)])
    part.dag.graph["outputs"] = kept
    return part, left_out


def _outputs_text(results: Mapping[str, np.ndarray], found: Mapping[str, dict[str, Any]]) -> str:
    rows = [
        (n, s["dtype"], out.shape(s["shape"]), s.get("min"), s.get("mean"), s.get("max"), s.get("norm")) for n, s in found.items()
    ]
    text = out.table(rows, ("output", "dtype", "shape", "min", "mean", "max", "norm"))
    small = [f"{name} = {out.full(array)}" for name, array in results.items() if "values" in found[name]]
    return "\n".join([text, *([""] if small else []), *small])


# -- grad


def grad(
    path: str,
    settings: Settings,
    specs: Sequence[str],
    loss: str | None,
    wrt: Sequence[str],
    weights: str | None,
    output: str | None,
) -> Result:
    """Runs forward and backward; shows every value with its delta, and the gradients."""
    check_target(output, [".npz"])
    session = Session(path, settings)
    of = session.required_loss(loss)
    exe, fn = with_every_value(session, of, wrt or _default_wrt(session))
    untrained = [] if weights else random_weights(session.graph, session.seed)
    notes = load_weights(exe, weights) if weights else untrained
    inputs = session.all_inputs(specs)
    values = {n: np.asarray(inputs[n]) for n in inputs} | exe(inputs)
    values |= {leaf.name: leaf.value for leaf in fn.of_role("constant") if leaf.value is not None} | dict(exe.parameters)
    loss_value, gradients = exe.gradients(inputs)
    deltas = {name: exe.deltas[name] for name in exe.deltas if name in values}
    if output:
        write_npz(output, gradients)
        notes.append(f"wrote {output}: {', '.join(gradients)}")
    record = {
        "loss": loss_value,
        "nodes": _node_records(fn, values, deltas),
        "gradients": {n: _whole(g) for n, g in gradients.items()},
        "random_weights": bool(untrained),
    }
    return Result(_grad_text(of, loss_value, record, deltas, gradients), record, session.notes + notes)


def with_every_value(session: Session, loss: str, wrt: Sequence[str] | None) -> tuple[Executable, Function]:
    """Compiles an executable that keeps every value and every delta."""
    graph = session.graph.copy()
    fn = graph.function()
    leaves = {leaf.name for leaf in fn.leaves}
    graph.dag.graph["outputs"] = [name for name in fn.names if name not in leaves]
    return session.compile(graph, loss=loss, wrt=wrt, keep_deltas=True), fn


def _default_wrt(session: Session) -> list[str] | None:
    """None for all trainable parameters; in a graph without any, the floating inputs."""
    if session.has_parameters:
        return None
    return [leaf.name for leaf in session.leaves.values() if leaf.dtype.startswith("float")]


def _node_records(fn: Function, values: Mapping[str, np.ndarray], deltas: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    ops = {leaf.name: leaf.role for leaf in fn.leaves} | {
        fn.names[v]: node.op.name for node in fn.nodes for v in node.outputs
    }
    records = []
    for name, op in ops.items():
        record = {
            "name": name,
            "op": op,
            "dtype": values[name].dtype.name,
            "shape": list(values[name].shape),
            "norm": out.norm(values[name]),
        }
        if name in deltas:
            record["delta_norm"] = out.norm(deltas[name])
            if deltas[name].size <= MAX_PRINTED_DELTA:
                record["delta"] = deltas[name].tolist()
        records.append(record)
    return records


def _whole(array: np.ndarray) -> dict[str, Any]:
    found = {"dtype": array.dtype.name, "shape": list(array.shape), "norm": out.norm(array)}
    return found | ({"values": array.tolist()} if array.size <= MAX_PRINTED_DELTA else {})


def _grad_text(
    of: str, loss: float, record: Mapping[str, Any], deltas: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray]
) -> str:
    rows = [(n["name"], n["op"], out.shape(n["shape"]), n["norm"], n.get("delta_norm")) for n in record["nodes"]]
    lines = [f"{of} = {loss:.17g}", "", out.table(rows, ("node", "op", "shape", "|value|", "|delta|"))]
    small = [f"delta at {n} = {out.full(d)}" for n, d in deltas.items() if d.size <= MAX_PRINTED_DELTA and n not in gradients]
    lines += ["", *small] if small else []
    lines.append("")
    for name, gradient in gradients.items():
        shown = (
            out.full(gradient)
            if gradient.size <= MAX_PRINTED_DELTA
            else f"{gradient.dtype} {out.shape(gradient.shape)}, norm {out.norm(gradient):.6g}"
        )
        lines.append(f"d{of}/d{name} = {shown}")
    return "\n".join(lines)


# -- check


def check(path: str, settings: Settings, specs: Sequence[str], loss: str | None, bar: bool = False) -> Result:
    """Validates a file, infers shapes, and compares gradients with central differences."""
    from graphexec.gradcheck import check_gradient

    session = Session(path, settings)
    rows, records = graph_table(session.graph)
    text = [out.table(rows, ("node", "op", "operands", "shape", "dtype")), ""]
    record: dict[str, Any] = {"valid": True, "nodes": records, "gradients": None}
    of = session.loss(loss)
    if of is None:
        session.notes.append("gradients are not checked: the file names no loss (use --loss NAME)")
        return Result("\n".join([*text, f"{path}: valid"]), record, session.notes)
    inputs = session.some_inputs(CHECKED_ROWS, {}, specs) if specs or "data" in session.train else None
    try:
        report = check_gradient(session.graph, of=of, inputs=inputs, seed=session.seed, progress=bar, **settings.passes)
    except GraphExecError as error:
        record["gradients"] = {"passed": False, "error": str(error)}
        what = "are wrong" if isinstance(error, GradientMismatch) else "cannot be checked"
        return Result("\n".join([*text, f"{path}: valid, but its gradients {what}"]), record, session.notes, error)
    record["gradients"] = {
        "passed": True,
        "max_error": report.max_error,
        "tolerance": report.tolerance,
        "checks": [{"operand": c.operand, "rule": c.rule, "error": c.error} for c in report.checks],
    }
    return Result("\n".join([*text, f"{path}: valid; gradients of {of!r} checked:", str(report)]), record, session.notes)


# -- show


def show(path: str, settings: Settings, program: bool, kind: str | None, sizes: Mapping[str, int]) -> Result:
    """Shows the graph as a table, or the lowered program."""
    session = Session(path, settings)
    if not program:
        rows, records = graph_table(session.graph)
        text = out.table(rows, ("node", "op", "operands", "shape", "dtype"))
        return Result(
            f"{session.graph.name}: {len(rows)} nodes\n\n{text}", {"name": session.graph.name, "nodes": records}, session.notes
        )
    kind = session.kind(kind)
    exe = session.compile_kind(kind)
    bound = session.sizes(sizes, session.train.get("batch_size", 1))
    lowered = exe.compiled.runner(kind, tuple(bound.items())).program
    head = f"{kind} of {session.graph.name}" + (f" with {', '.join(f'{n}={v}' for n, v in bound.items())}" if bound else "")
    return Result(
        f"{head}\n\n{lowered.listing()}", {"kind": kind, "sizes": bound, "listing": lowered.listing().splitlines()}, session.notes
    )


def graph_table(graph: Graph) -> tuple[list[tuple[str, ...]], list[dict[str, Any]]]:
    """Lists every node with its op, operands, shape and dtype, as rows and as records."""
    from graphexec.ir.function import ABSENT
    from graphexec.ir.infer import infer
    from graphexec.ir.spec import Sizes

    fn = infer(graph.function(), Sizes())
    rows: list[tuple[str, ...]] = []
    records = []
    marked = set(graph.outputs)

    def add(name: str, op: str, operands: list[str], attributes: Mapping[str, Any], value: int) -> None:
        spec = fn.specs[value]
        text = ", ".join([*operands, *(f"{k}={v!r}" for k, v in attributes.items())])
        rows.append((name + (" *" if name in marked else ""), op, text, shape_text(spec.shape), spec.dtype))
        shape = [n.expression if hasattr(n, "expression") else int(n) for n in spec.shape]
        records.append(
            {
                "name": name,
                "op": op,
                "operands": operands,
                "attributes": dict(attributes),
                "shape": shape,
                "dtype": spec.dtype,
                "output": name in marked,
            }
        )

    for leaf in fn.leaves:
        add(leaf.name, leaf.role, [], {"init": leaf.init} if leaf.init else {}, leaf.value_id)
    for node in fn.nodes:
        operands = ["none" if v == ABSENT else fn.names[v] for v in node.inputs]
        for value in node.outputs:
            add(fn.names[value], node.op.name, operands, node.op.non_defaults(node.attributes), value)
    return rows, records
