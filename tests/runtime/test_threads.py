"""Threads: the same bits for any number of them, several programs at once, and processes that fork."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import graphexec as gx
from graphexec.runtime.thread_pool import default_threads

ops = gx.ops


def mixed():
    """A product of 256 x 256, elementwise work on 200,000 elements, and sums along each axis and over all."""
    g = gx.Graph("mixed")
    x, w, v = (
        g.parameter("x", (256, 256), init="normal(std=0.1)"),
        g.parameter("w", (256, 256), init="normal(std=0.1)"),
        g.input("v", (200_000,)),
    )
    h = ops.tanh(x @ w)
    long = ops.sin(v) * ops.sigmoid(v)
    rows, columns = ops.sum(h, axis=1, name="rows"), ops.sum(h, axis=0, name="columns")
    loss = ops.add(ops.sum(long * long) + ops.sum(ops.softmax(h, axis=0) * h), ops.sum(rows * columns), name="loss")
    g.output(h, long, rows, columns, ops.max(long, name="top"), loss)
    return g


V = np.linspace(-3, 3, 200_000, dtype=np.float32)


def results(threads, optimize=True):
    exe = gx.compile(mixed(), loss="loss", wrt=["x", "w"], optimizer="adam(lr=0.01)", seed=1, threads=threads, optimize=optimize)
    out = exe(v=V)
    assert exe.program.parallel is (threads > 1)
    loss, gradients = exe.gradients(v=V)
    steps = [exe.step(v=V) for _ in range(3)]
    return {**out, "gradient loss": loss, **{f"d_{n}": d for n, d in gradients.items()}, "steps": steps, **exe.parameters}


@pytest.mark.parametrize("optimize", [True, False], ids=["optimized", "plain"])
def test_bits_do_not_depend_on_the_number_of_threads(optimize):
    expected = results(1, optimize)
    for threads in (2, 3, 4, 8):
        for name, array in results(threads, optimize).items():
            np.testing.assert_array_equal(array, expected[name], err_msg=f"{name}, {threads} threads", strict=True)


def test_a_run_repeats_bit_for_bit():
    exe = gx.compile(mixed(), loss="loss", wrt=["x", "w"], seed=1, threads=4)
    loss, first = exe.gradients(v=V)
    for _ in range(20):
        again, gradients = exe.gradients(v=V)
        assert again == loss
        for name, array in gradients.items():
            np.testing.assert_array_equal(array, first[name])


def test_two_executables_in_two_python_threads():
    """One finds the pool busy and works alone, with the same bits."""
    expected = gx.compile(mixed(), loss="loss", wrt=["x", "w"], seed=1, threads=1).gradients(v=V)
    exes = [gx.compile(mixed(), loss="loss", wrt=["x", "w"], seed=1, threads=2) for _ in range(2)]
    found, failures = [[], []], []

    def work(k):
        try:
            found[k] = [exes[k].gradients(v=V) for _ in range(10)]
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert not failures
    for loss, gradients in found[0] + found[1]:
        assert loss == expected[0]
        for name, array in gradients.items():
            np.testing.assert_array_equal(array, expected[1][name])
    assert len(found[0]) == len(found[1]) == 10


FORK = """\
import os
import numpy as np
import graphexec as gx

g = gx.Graph("fork")
v = g.input("v", (200_000,))
g.output(gx.ops.sum(gx.ops.sin(v) * gx.ops.tanh(v), name="s"))
exe = gx.compile(g, threads=2)
v = np.linspace(-3, 3, 200_000, dtype=np.float32)
before = exe(v=v)["s"]
assert exe.program.parallel
child = os.fork()
if child == 0:
    same = exe(v=v)["s"] == before and exe(v=v)["s"] == before
    os._exit(0 if same else 3)
status = os.waitpid(child, 0)[1]
assert os.waitstatus_to_exitcode(status) == 0, status
assert exe(v=v)["s"] == before
"""


def script(text, **environment):
    done = subprocess.run(
        [sys.executable, "-c", text], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.skipif(sys.platform != "linux", reason="fork without exec is safe on Linux only")
def test_a_forked_child_runs_programs_too():
    script(FORK, PYTHONWARNINGS="ignore::DeprecationWarning")


def test_the_number_of_threads_can_be_set_for_a_process(monkeypatch):
    monkeypatch.setenv("GRAPHEXEC_NUM_THREADS", "1")
    assert default_threads() == 1
    assert gx.compile(mixed()).threads == 1
    monkeypatch.setenv("GRAPHEXEC_NUM_THREADS", "3")
    assert default_threads() == 3
    for nonsense in ("0", "-1", "many", ""):
        monkeypatch.setenv("GRAPHEXEC_NUM_THREADS", nonsense)
        assert default_threads() >= 1


def test_one_thread_starts_none():
    script(FORK.replace("threads=2", "threads=None").replace("assert exe.program.parallel", "assert not exe.program.parallel")
           + "import threading\nassert threading.active_count() == 1\n", GRAPHEXEC_NUM_THREADS="1",
           PYTHONWARNINGS="ignore::DeprecationWarning")  # fmt: skip


def test_a_further_step_allocates_nothing():
    """Arena, records and table are made once: a thousand steps leave no more behind than the float that they return."""
    import tracemalloc

    exe = gx.compile(mixed(), loss="loss", wrt=["x", "w"], optimizer="adam(lr=0.01)", seed=1, threads=1)
    exe.step(v=V)
    exe.step()
    program = exe.program
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(200):
        exe.step()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 1_000
    assert peak - before < 4_000
    assert exe.program is program
