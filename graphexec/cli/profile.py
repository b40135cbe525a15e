"""Implements the commands bench and profile: a program's run time, as a whole and by node, and its lower limit on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from graphexec.cli import format as out
from graphexec.cli.session import Result, Session, Settings
from graphexec.lower.cost import multiplications
from graphexec.profile.roofline import Machine, measure
from graphexec.profile.timer import instruction_times, run_times

if TYPE_CHECKING:
    from graphexec.lower.program import Instruction
    from graphexec.runtime.runner import Runner

FIGURES = ("time", "share", "GFLOP/s", "GB/s", "of limit")


def bench(
    path: str, settings: Settings, kind: str | None, sizes: Mapping[str, int], specs: Sequence[str], seconds: float
) -> Result:
    """Measures the median, 10th and 90th percentile of the time of a run."""
    session = Session(path, settings)
    kind = session.kind(kind)
    runner = bound_runner(session, kind, sizes, specs)
    times = run_times(runner, seconds)
    p10, median, p90 = (float(t) for t in np.percentile(times, [10, 50, 90]))
    rows = _rows(session, runner)
    threads = runner.threads if runner.program.parallel else 1
    limit = step_limit(runner, threads)
    record = {
        "kind": kind,
        "rows": rows,
        "threads": threads,
        "median": median,
        "p10": p10,
        "p90": p90,
        "per_second": 1 / median,
        "rows_per_second": rows / median,
        "samples": len(times),
        "limit": limit,
    }
    figures = (*(out.seconds(t) for t in (median, p10, p90)), f"{1 / median:.4g}", f"{rows / median:.4g}")
    text = out.table(
        [(kind, rows, *figures, out.seconds(limit), _share(limit, median))],
        ("program", "rows", "median", "p10", "p90", "runs/s", "rows/s", "limit", "of limit"),
    )
    return Result(text, record, session.notes)


def step_limit(runner: Runner, threads: int) -> float:
    """Returns a lower limit on the seconds of a run: matrix products at peak speed, or values at memory bandwidth.

    It adds up the lower limits of the instructions, and counts no arithmetic other than matrix products.
    """
    limits = measure(threads)
    return sum(_limit(runner, instruction, limits) for instruction in runner.program.instructions)


def _limit(runner: Runner, instruction: Instruction, limits: Machine) -> float:
    node, specs = instruction.node, runner.program.layout.specs
    dtype = specs[node.outputs[0]].dtype
    return limits.seconds(flops(instruction, runner), moved(instruction, runner), dtype)


def moved(instruction: Instruction, runner: Runner) -> int:
    """Counts the bytes of the values that an instruction reads and writes, each value once."""
    node, specs = instruction.node, runner.program.layout.specs
    return sum(specs[v].nbytes for v in {*node.reads, *node.outputs})


def _share(limit: float, seconds: float) -> str:
    return f"{100 * limit / seconds:.0f} %" if seconds else ""


def bound_runner(session: Session, kind: str, sizes: Mapping[str, int], specs: Sequence[str]) -> Runner:
    """Compiles a program, binds its inputs and runs it once."""
    session.sizes(sizes, 1)
    inputs = session.some_inputs(session.train.get("batch_size"), sizes, specs)
    runner = session.compile_kind(kind).compiled.bound(kind, inputs)
    runner.run()
    return runner


def _rows(session: Session, runner: Runner) -> int:
    from graphexec.training.data import is_batched

    return next((len(runner.inputs[n]) for n, leaf in session.leaves.items() if is_batched(leaf)), 1)


# -- profile


def profile(
    path: str, settings: Settings, kind: str | None, sizes: Mapping[str, int], specs: Sequence[str], seconds: float, every: bool
) -> Result:
    """Measures the time of each instruction and of each node of the graph."""
    session = Session(path, settings)
    kind = session.kind(kind)
    runner = bound_runner(session, kind, sizes, specs)
    times = instruction_times(runner, seconds)
    total = float(times.sum()) or 1.0
    limits = measure(1)
    pairs = zip(runner.program.instructions, times.tolist(), strict=True)
    records = [_record(runner, k, instruction, t, total, limits) for k, (instruction, t) in enumerate(pairs)]
    nodes = by_node(records, list(session.graph.dag), total)
    if every:
        lines: list[tuple[Any, ...]] = [(r["number"], r["node"], r["op"], *_figures(r)) for r in records]
        text = out.table(lines, ("", "node", "kernel", *FIGURES))
    else:
        lines = [(n["node"], n["instructions"], *_figures(n)) for n in nodes]
        text = out.table(lines, ("node", "instructions", *FIGURES))
    rows = _rows(session, runner)
    limit = sum(r["limit"] for r in records)
    head = f"{kind} of {session.graph.name}, {rows} rows: {out.seconds(total)} in {len(records)} instructions, on one thread"
    head += f"\nAt the limits of this machine: {out.seconds(limit)}, {_share(limit, total)} of that time\n{limits}"
    record = {"kind": kind, "seconds": total, "limit": limit, "machine": asdict(limits), "nodes": nodes, "instructions": records}
    return Result(f"{head}\n\n{text}", record, session.notes)


def _record(
    runner: Runner, number: int, instruction: Instruction, seconds: float, total: float, limits: Machine
) -> dict[str, Any]:
    node = instruction.node
    return {
        "number": number,
        "node": node.name,
        "op": node.op.name,
        "seconds": seconds,
        "share": seconds / total,
        "bytes": moved(instruction, runner),
        "flops": flops(instruction, runner),
        "limit": _limit(runner, instruction, limits),
    }


def flops(instruction: Instruction, runner: Runner) -> int:
    """Counts 2 m n k operations for a matrix product, and 0 for other ops."""
    return 2 * multiplications(runner.program.layout, instruction.node)


def by_node(records: Sequence[Mapping[str, Any]], names: Sequence[str], total: float) -> list[dict[str, Any]]:
    """Sums instructions by their node of the graph, with forward and backward separate; slowest first."""
    known = set(names)
    sums: dict[str, dict[str, Any]] = {}
    for r in records:
        name = _owner(r["node"], known)
        into = sums.setdefault(name, {"node": name, "instructions": 0, "seconds": 0.0, "bytes": 0, "flops": 0, "limit": 0.0})
        into["instructions"] += 1
        for key in ("seconds", "bytes", "flops", "limit"):
            into[key] += r[key]
    return sorted(({**s, "share": s["seconds"] / total} for s in sums.values()), key=lambda s: -s["seconds"])


def _owner(name: str, known: set[str]) -> str:
    """Maps an instruction's name to its node: ``z1.backward.sum`` to z1's backward; ``d_w`` stays ``d_w``."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in known:
            stage = parts[end] if end < len(parts) else ""
            return ".".join(parts[:end]) + (f" {stage}" if stage in ("backward", "update") else "")
    return name


def _figures(r: Mapping[str, Any]) -> tuple[str, ...]:
    rate = r["seconds"] or float("inf")
    return (
        out.seconds(r["seconds"]),
        f"{100 * r['share']:.1f} %",
        f"{r['flops'] / rate * 1e-9:.3g}" if r["flops"] else "",
        f"{r['bytes'] / rate * 1e-9:.3g}",
        _share(r["limit"], r["seconds"]),
    )
