"""Time of a training step, workload by workload, with graphexec alone.

    python tests/benchmarks/run.py [xor mnist ...] [--threads 2] [--seconds 2] [--json out.json]
    python tests/benchmarks/run.py --fit                 the step inside `fit`, 1000 mini-batches an epoch or --batches N
    python tests/benchmarks/run.py --profile nested      the time of each instruction, on one thread

Every workload runs in a process of its own.
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import models
import numpy as np

from graphexec.profile.timer import instruction_times, run_times

clock = time.perf_counter
BLOCK = 0.005
"""Seconds that a sample takes at least, of as many steps as fit."""
FIT = ("xor", "digits")


def sample(run: Callable[[int], Any], seconds: float) -> np.ndarray:
    """Microseconds a step, one figure for each block; ``run(k)`` does k steps."""
    run(2)
    begin = clock()
    run(3)
    k = max(1, int(BLOCK / max((clock() - begin) / 3, 1e-7)))
    found: list[float] = []
    end = clock() + seconds
    while clock() < end or len(found) < 5:
        begin = clock()
        run(k)
        found.append((clock() - begin) / k)
    return np.array(found) * 1e6


def bound(name: str, threads: int) -> tuple[Any, Callable[[], Any], float]:
    """An executable that has made its first step, the call of another, and the seconds that it took to get there."""
    w = models.get(name)
    begin = clock()
    exe = models.build(w, threads=threads)
    call: Callable[..., Any] = exe.step if w.opt else exe.__call__
    call(**w.data)
    return exe, call, clock() - begin


def repeated(call: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        call()


def measure(name: str, threads: int, seconds: float) -> dict[str, Any]:
    exe, call, build = bound(name, threads)
    steps = sample(lambda k: repeated(call, k), seconds)
    native = sample(exe.compiled.last.run, seconds)
    p10, median, p90 = np.percentile(steps, [10, 50, 90])
    return {
        "median": median, "p10": p10, "p90": p90, "native": float(np.median(native)), "instructions": len(exe.program.instructions),
        "threads": exe.compiled.last.tuner.best if exe.compiled.last.tuner else 1,
        "build": build, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def fit(name: str, threads: int, seconds: float, batches: int) -> dict[str, Any]:
    """Microseconds a step inside `fit`: the shuffle, the choice of rows and the sum of the losses included."""
    w = models.get(name)
    size = len(w.data["x"])
    exe = models.build(w, threads=threads, batch="batch")
    data = {k: np.concatenate([v] * batches) for k, v in w.data.items()}
    epochs: list[float] = []

    end = clock() + seconds
    while clock() < end or len(epochs) < 3:
        history = exe.fit(data, epochs=20, batch_size=size, progress=False)
        epochs.extend(e["seconds"] for e in history[1:])  # the first tells how long a step takes
    p10, median, p90 = np.percentile(np.array(epochs) * 1e6 / batches, [10, 50, 90])
    _, call, _ = bound(name, threads)
    return {"median": median, "p10": p10, "p90": p90, "step": float(np.median(sample(lambda k: repeated(call, k), seconds)))}


def profile(name: str, threads: int, seconds: float) -> dict[str, Any]:
    """Microseconds of each instruction alone, in the order of the program; summed by kernel and shapes."""
    exe, _, _ = bound(name, threads)
    runner, rows = exe.compiled.last, []
    times = instruction_times(runner, seconds) * 1e6
    sums: dict[str, list[float]] = collections.defaultdict(lambda: [0, 0.0])
    for instruction, us in zip(runner.program.instructions, times.tolist(), strict=True):
        node = instruction.node
        shapes = [list(map(int, runner.program.layout.specs[v].shape)) for v in (*node.outputs, *node.reads)]
        outs, ins = shapes[: len(node.outputs)], shapes[len(node.outputs) :]
        kind = f"{node.op.name} {outs} <- {ins}"
        rows.append({"us": us, "node": node.name, "kind": kind, "serial": instruction.spec.serial})
        sums[kind][0] += 1
        sums[kind][1] += us
    whole = float(np.median(run_times(runner, seconds))) * 1e6
    ranked = sorted(([k, *v] for k, v in sums.items()), key=lambda s: -s[2])
    return {"total": float(times.sum()), "whole": whole, "threads": threads, "rows": rows, "sums": ranked}


def child(name: str, a: argparse.Namespace) -> dict[str, Any]:
    """A workload in a process of its own."""
    command = [sys.executable, __file__, name, "--child", "--threads", str(a.threads), "--seconds", str(a.seconds)]
    command += ["--fit"] * a.fit + ["--profile"] * a.profile + ["--batches", str(a.batches)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(name: str, r: dict[str, Any], a: argparse.Namespace) -> str:
    if "error" in r:
        return f"{name:14s} {r['error']}"
    if a.profile:
        together = f"{r['whole']:.1f} us together on up to {r['threads']} threads"
        lines = [f"{name}: {r['total']:.1f} us in {len(r['rows'])} instructions one by one, {together}"]
        if len(r["rows"]) <= a.top:
            for k, x in enumerate(r["rows"]):
                lines.append(f"{k:5d} {x['us']:10.3f} us {' ' if x['serial'] else 'T'} {x['node']:32s} {x['kind']}")
        lines += ["  by kernel and shape:"]
        for kind, count, us in r["sums"][: a.top]:
            lines.append(f"{count:5d} x {us / count:10.3f} = {us:10.1f} us {100 * us / r['total']:5.1f} %  {kind}")
        return "\n".join(lines)
    head = f"{name:14s} {r['median']:11.2f} {r['p10']:11.2f} {r['p90']:11.2f}"
    if a.fit:
        return f"{head} {r['step']:11.2f}"
    return f"{head} {r['native']:11.2f} {r['instructions']:7d} {r['threads']:3d} {r['build']:8.2f} {r['peak_mb']:7.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(models.WORKLOADS)}; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring, for each figure")
    parser.add_argument("--fit", action="store_true", help="the step inside fit")
    parser.add_argument("--batches", type=int, default=1000, help="of an epoch of --fit")
    parser.add_argument("--profile", action="store_true", help="the time of each instruction")
    parser.add_argument("--top", type=int, default=40, help="lines of a profile")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    known = FIT if a.fit else tuple(models.WORKLOADS)
    names = a.workloads or list(known)
    for name in names:
        if name not in known:
            parser.error(f"there is no workload {name!r} here: choose from {', '.join(known)}")
    if a.child:
        work = functools.partial(fit, batches=a.batches) if a.fit else profile if a.profile else measure
        print(json.dumps(work(names[0], a.threads, a.seconds)))
        return
    if not a.profile:
        head = f"{'workload':14s}" + "".join(f" {h:>11s}" for h in ("us/step", "p10", "p90", "step alone" if a.fit else "native"))
        print(head + ("" if a.fit else f" {'instr.':>7s} thr {'build s':>8s} {'peak MB':>7s}"))
    results = {}
    for name in names:
        results[name] = child(name, a)
        print(show(name, results[name], a), flush=True)
    if a.json:
        Path(a.json).write_text(json.dumps({"threads": a.threads, "results": results}, indent=1))


if __name__ == "__main__":
    main()
