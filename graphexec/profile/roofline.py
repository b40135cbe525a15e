"""What this machine can do: arithmetic peak and memory bandwidth, measured when first asked for and kept in the cache.

A program, or one of its instructions, cannot be faster than its arithmetic at the peak, nor than its memory traffic at the
bandwidth of the memory that holds so many bytes (the roofline: Williams, Waterman and Patterson, CACM 52(4), 2009).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphexec.llvm import cache, fingerprint, toolchain
from graphexec.profile import peak_flops as peak

if TYPE_CHECKING:
    from graphexec.runtime.runner import Runner

FOOTPRINTS = (24 << 10, 192 << 10, 3 << 20, 96 << 20)
"""Bytes for which bandwidth is measured: as much as the first, second and third cache hold, and more than any."""


@dataclass(frozen=True)
class Machine:
    """``peak`` in operations a second by element type, ``bandwidth`` in bytes a second by footprint, on so many threads."""

    threads: int
    peak: dict[str, float]
    bandwidth: tuple[tuple[int, float], ...]

    def seconds(self, flops: float, nbytes: float, dtype: str = "float32") -> float:
        """The least time that so many operations and so much memory traffic take."""
        rate = next((r for footprint, r in self.bandwidth if nbytes <= footprint), self.bandwidth[-1][1])
        return max(flops / self.peak.get(dtype, self.peak["float64"]), nbytes / rate)

    def __str__(self) -> str:
        rates = ", ".join(f"{rate * 1e-9:.0f} at {footprint >> 10} KiB" for footprint, rate in self.bandwidth)
        peaks = ", ".join(f"{rate * 1e-9:.0f} GFLOP/s {dtype}" for dtype, rate in self.peak.items())
        return f"{peaks}; GB/s: {rates}; on {self.threads} thread{'s' * (self.threads > 1)}"


def machine(threads: int = 1) -> Machine:
    """The limits of this machine on a number of threads; takes a second the first time."""
    name = toolchain.symbol_name("machine", fingerprint.environment(), str(threads)) + ".json"
    known = cache.read(name)
    if known is not None:
        found = json.loads(known)
        return Machine(found["threads"], found["peak"], tuple((n, rate) for n, rate in found["bandwidth"]))
    peaks = {dtype: peak.peak(dtype) * threads for dtype in ("float32", "float64")}
    alone = machine(1).bandwidth if threads > 1 else [(n, 0.0) for n in FOOTPRINTS]  # threads may also be idle
    measured = Machine(threads, peaks, tuple((n, max(_bandwidth(n, threads), rate)) for n, rate in alone))
    cache.write(name, json.dumps(asdict(measured)).encode())
    return measured


def _bandwidth(footprint: int, threads: int) -> float:
    """Bytes a second of out = x + y, for arrays of so many bytes together."""
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
