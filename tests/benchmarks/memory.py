"""Memory of a training step: what is alive at its peak beside parameters, data and the optimizer's state.

    python tests/benchmarks/memory.py [xor mnist ...] [--threads 2] [--recompute sqrt]
    python tests/benchmarks/memory.py --torch peers/bin/python --harness BENCH     beside PyTorch's eager step

Ours is the arena, where all values of a step lie, and those pages of the kernels' scratch that a step touches.
PyTorch's is the most bytes of tensors that its allocator had given out at once, as its profiler reports them, in the step of
the harness's ``peers/torch_eager.py``; what its kernels take from elsewhere is not in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = 4096
MARK = 0xA5

EAGER = """
import json, sys, types
sys.path[:0] = [sys.argv[1], sys.argv[2]]
sys.modules["graphexec"] = types.ModuleType("graphexec")  # models.py needs the name; graphs are not built here
import models
from peers import torch_eager
from torch.profiler import ProfilerActivity, profile

def peak(step):
    step(), step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most

print("\\n" + json.dumps({name: peak(torch_eager.build(models.get(name))) for name in sys.argv[3:]}))
"""


def ours(name: str, threads: int, recompute: Any) -> dict[str, int]:
    """Bytes of the arena and of the scratch that a step touches, and of what stays between steps."""
    import models

    w = models.get(name)
    exe = models.build(w, threads=threads, recompute=recompute if w.opt else None)
    call = exe.step if w.opt else exe.__call__
    call(**w.data)
    program, touched = exe.program, 0
    if program.scratch is not None:
        program.scratch[:] = MARK
        call()
        whole = program.scratch[: program.scratch.size // PAGE * PAGE].reshape(-1, PAGE)
        touched = PAGE * int((whole != MARK).any(axis=1).sum())
    stays = sum(a.nbytes for a in exe.state().values()) + sum(a.nbytes for a in w.data.values())
    return {"arena": program.memory.arena, "scratch": touched, "stays": stays}


def eager(python: str, harness: str, names: list[str]) -> dict[str, int]:
    """Bytes at the peak of PyTorch's steps, measured by another interpreter."""
    done = subprocess.run(
        [python, "-c", EAGER, harness, str(HERE), *names], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    sys.path.insert(0, str(HERE))
    import models

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", default=list(models.WORKLOADS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recompute", type=lambda text: int(text) if text.isdecimal() else text)
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torch")
    parser.add_argument("--harness", metavar="DIR", help="the folder that has peers/torch_eager.py")
    given = parser.parse_args()
    if (given.torch is None) != (given.harness is None):
        parser.error("--torch and --harness belong together")
    peers = eager(given.torch, given.harness, given.workloads) if given.torch else {}
    print(f"{'workload':<14}{'arena':>12}{'scratch':>12}{'stays':>12}{'torch eager':>14}   arena / torch")
    for name in given.workloads:
        found = ours(name, given.threads, given.recompute)
        beside = f"{peers[name]:14d}   {found['arena'] / peers[name]:.2f}" if name in peers else ""
        print(f"{name:<14}{found['arena']:12d}{found['scratch']:12d}{found['stays']:12d}{beside}", flush=True)


if __name__ == "__main__":
    main()
