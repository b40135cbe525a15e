"""The limits of this machine: arithmetic peak and memory bandwidth, measured once and kept in the cache.

A program, or one of its instructions, cannot be faster than its arithmetic at the peak, nor than its memory traffic at the
bandwidth of the smallest memory that holds its data (the roofline: Williams, Waterman and Patterson, CACM 52(4), 2009).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphexec.llvm import cache, fingerprint, toolchain
from graphexec.profile import peak_flops

if TYPE_CHECKING:
    from graphexec.runtime.runner import Runner

FOOTPRINTS = (24 << 10, 192 << 10, 3 << 20, 96 << 20)
"""Bytes for which bandwidth is measured: amounts that fit into the first, second and third cache, and one that fits into none."""


@dataclass(frozen=True)
class Machine:
    """Rates per second on ``threads`` threads: ``peak`` operations by element type, ``bandwidth`` in bytes by footprint."""

    threads: int
    peak: dict[str, float]
    bandwidth: tuple[tuple[int, float], ...]

    def seconds(self, flops: float, nbytes: float, dtype: str = "float32") -> float:
        """The least time for that many operations and that much memory traffic."""
        rate = next((r for footprint, r in self.bandwidth if nbytes <= footprint), self.bandwidth[-1][1])
        return max(flops / self.peak.get(dtype, self.peak["float64"]), nbytes / rate)

    def __str__(self) -> str:
        rates = ", ".join(f"{rate * 1e-9:.0f} at {footprint >> 10} KiB" for footprint, rate in self.bandwidth)
        peaks = ", ".join(f"{rate * 1e-9:.0f} GFLOP/s {dtype}" for dtype, rate in self.peak.items())
        return f"{peaks}; GB/s: {rates}; on {self.threads} thread{'s' * (self.threads > 1)}"


def measure(threads: int = 1) -> Machine:
    """The limits of this machine with ``threads`` threads; takes a second the first time."""
    name = toolchain.symbol_name("machine", fingerprint.environment(), str(threads)) + ".json"
    known = cache.read(name)
    if known is not None:
        found = json.loads(known)
        return Machine(found["threads"], found["peak"], tuple((n, rate) for n, rate in found["bandwidth"]))
    peaks = {dtype: peak_flops.peak(dtype) * threads for dtype in ("float32", "float64")}
    single = measure(1).bandwidth if threads > 1 else [(n, 0.0) for n in FOOTPRINTS]  # the other threads may stay idle
    measured = Machine(threads, peaks, tuple((n, max(_bandwidth(n, threads), rate)) for n, rate in single))
    cache.write(name, json.dumps(asdict(measured)).encode())
    return measured


def _bandwidth(footprint: int, threads: int) -> float:
    """Bytes per second of out = x + y, for arrays of ``footprint`` bytes together."""
    runner = _sum(footprint // 12, threads)
    runner.fix(threads if runner.program.parallel else 1)
    best = float("inf")
    times = max(int(2e8 / footprint / 100), 1)
    for _ in range(40):
        begin = time.perf_counter()
        runner.run(times)
        best = min(best, (time.perf_counter() - begin) / times)
    return footprint / best


def _sum(count: int, threads: int) -> Runner:
    from graphexec.executable import compile as compile_graph
    from graphexec.graph.graph import Graph

    graph = Graph("bandwidth")
    x, y = graph.input("x", ("n",)), graph.input("y", ("n",))
    graph.output(x + y)
    data = np.ones(count, np.float32)
    return compile_graph(graph, threads=threads).compiled.bound("forward", {"x": data, "y": data})
