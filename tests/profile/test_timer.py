"""The time of each instruction: measuring leaves behind what as many runs would have."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphexec as gx
from graphexec.profile.timer import Walk, in_place, instruction_times, run_times

ops = gx.ops


def trained(skip=()):
    """A step with in-place instructions of every kind: an update, a chain on one buffer, a product added to another."""
    g = gx.Graph("net")
    x = g.input("x", (8, 20))
    w, v = g.parameter("w", (20, 20), init="normal(std=0.1)"), g.parameter("v", (20, 20), init="normal(std=0.1)")
    h = ops.tanh(ops.exp(x @ w) + 0.5)
    loss = ops.sum((h + x @ v) * (h @ v), name="loss")
    g.output(loss)
    exe = gx.compile(g, loss="loss", optimizer=gx.Adam(lr=0.01), seed=3, threads=1, skip_passes=skip)
    exe.step(x=np.random.default_rng(0).normal(size=(8, 20)).astype("float32"))
    return exe


@pytest.mark.parametrize("skip", [(), ("fuse", "gemm_epilogue")], ids=["optimized", "unfused"])
def test_measuring_runs_the_program_and_nothing_else(monkeypatch, skip):
    walks = []
    walk = Walk.seconds
    monkeypatch.setattr(Walk, "seconds", lambda self, repeats: (walks.append(repeats.copy()), walk(self, repeats))[1])
    measured, plain = trained(skip), trained(skip)
    runner = measured.compiled.last
    times = instruction_times(runner, 0)
    program = runner.program
    assert times.shape == (len(program.instructions),)
    assert (times >= 0).all()
    over = [k for k in range(len(times)) if in_place(program, k)]
    wanted = {"increment", "adam", "matmul_add"} | ({"exp", "tanh", "add"} if skip else {"matmul+adam"})
    assert {program.instructions[k].node.op.name for k in over} >= wanted
    assert all(walks[-1][k] > 1 for k in over)  # they were repeated
    for _ in walks:
        plain.step()
    for name, array in plain.parameters.items():
        np.testing.assert_array_equal(measured.parameters[name], array)
    assert measured.step() == plain.step()
    assert (run_times(runner, 0) > 0).all()


def test_a_program_without_instructions_takes_no_time():
    g = gx.Graph("nothing")
    g.output(g.input("x", (2,)))
    exe = gx.compile(g)
    exe(x=np.zeros(2, "float32"))
    assert instruction_times(exe.compiled.last, 0).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--profile",), ("--fit", "--batches", "8"), ()], ids=["profile", "fit", "step"])
def test_the_benchmark_by_itself(options):
    script = Path(__file__).parents[1] / "benchmarks" / "run.py"
    command = [sys.executable, script, "xor", "--seconds", "0.05", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Error" not in done.stdout
    assert "xor" in done.stdout
