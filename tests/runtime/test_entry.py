"""The call from Python into a program: as a method of CPython, and by ctypes where Python lacks what that calls."""

import ctypes
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import graphexec as gx
from graphexec.abi import CALL_WORDS, CallWord
from graphexec.codegen import linker as library
from graphexec.llvm import toolchain
from graphexec.runtime import entry, thread_pool_ir

ops = gx.ops
CPYTHON = sys.implementation.name == "cpython"


@pytest.fixture(params=[pytest.param("method", marks=pytest.mark.skipif(not CPYTHON, reason="the method is CPython's")), "ctypes"])
def way(request, monkeypatch):
    """Both ways in, one after the other."""
    if request.param == "ctypes":
        monkeypatch.setattr(entry, "method_maker", lambda: None)
    return request.param


def look_up(count=60_000):
    """Rows of a table, whose index may be out of range, beside something large enough to be shared between threads."""
    g = gx.Graph("look_up")
    table, which, x = g.parameter("table", (4, 2), init="ones"), g.input("which", ("n",), "int64"), g.input("x", (count,))
    found = ops.gather(table, which, name="found")
    y = ops.tanh(ops.exp(x), name="y")
    g.output(ops.add(ops.sum(found * found), ops.sum(y), name="loss"))
    return g


X = np.linspace(-2, 1, 60_000, dtype=np.float32)
FINE, WRONG = np.array([3, 1, 0]), np.array([0, 4, 1])


def trained(threads):
    return gx.compile(look_up(), loss="loss", optimizer=gx.SGD(lr=0.1), threads=threads)


def runner_of(exe, threads):
    """The runner of a step, on that many threads and not on what is faster."""
    exe.step(which=FINE, x=X)
    runner = exe.compiled.last
    assert runner.program.parallel is (threads > 1)
    if threads > 1:
        runner.fix(threads)
    return runner


def test_each_way_is_taken(way):
    runner = runner_of(trained(1), 1)
    assert (type(runner.enter) is type(len)) is (way == "method")


@pytest.mark.parametrize("threads", [1, 2])
def test_both_ways_do_the_same(way, threads):
    exe, expected = trained(threads), trained(1)
    runner_of(exe, threads)
    expected.step(which=FINE, x=X)
    for _ in range(3):
        assert exe.step(which=FINE, x=X) == expected.step(which=FINE, x=X)
    exe.compiled.last.run(7)
    assert exe.compiled.last.done == 7
    expected.compiled.last.run(7)
    np.testing.assert_array_equal(exe.parameters["table"], expected.parameters["table"])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failing_kernel_stops_the_loop_and_names_its_node(way, threads):
    exe = trained(threads)
    runner = runner_of(exe, threads)
    before = exe.parameters["table"].copy()
    runner.inputs["which"][:] = WRONG
    for _ in range(3):
        with pytest.raises(gx.KernelError, match=r"found.*gather.*\n?.*an index is out of range"):
            runner.run(5)
        assert runner.done <= 1  # not a second time
    runner.inputs["which"][:] = FINE
    exe.parameters["table"] = before
    runner.run(2)
    again = trained(1)
    for _ in range(3):
        again.step(which=FINE, x=X)
    np.testing.assert_array_equal(exe.parameters["table"], again.parameters["table"])


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_is_run_without_times_or_after_the_flag(way, threads):
    exe = trained(threads)
    runner = runner_of(exe, threads)
    before = exe.parameters["table"].copy()
    runner.run(0)
    runner.run(-1)
    runner.progress[1] = 1
    runner.run(3)
    assert runner.done == 0
    np.testing.assert_array_equal(exe.parameters["table"], before)
    runner.progress[1] = 0
    runner.run(3)
    assert runner.done == 3
    assert (exe.parameters["table"] != before).any()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_flag_stops_a_loop_under_way_and_others_run_meanwhile(way, threads):
    """Which they can only if the GIL is free."""
    runner = runner_of(trained(threads), threads)
    worker = threading.Thread(target=runner.run, args=(10**9,), daemon=True)
    worker.start()
    end = time.monotonic() + 20
    while runner.done < 5 and time.monotonic() < end:
        time.sleep(1e-3)
    runner.progress[1] = 1
    worker.join(timeout=20)
    assert not worker.is_alive()
    assert 5 <= runner.done < 10**9


@pytest.mark.skipif(not CPYTHON, reason="the method is CPython's")
def test_a_method_takes_integers_that_fit():
    enter = runner_of(trained(1), 1).enter
    with pytest.raises(TypeError):
        enter("1")
    with pytest.raises(OverflowError):
        enter(2**63)
    with pytest.raises(TypeError):
        enter()
    assert enter(-1) == 0


@pytest.mark.skipif(not CPYTHON, reason="the method is CPython's")
def test_a_python_without_one_of_the_functions_falls_back(monkeypatch):
    """As it would where `ctypes.pythonapi` does not know a name."""
    monkeypatch.setattr(entry, "CPYTHON_SYMBOLS", (*entry.CPYTHON_SYMBOLS, "PyEval_NoSuchFunction"))
    assert entry.method_maker.__wrapped__() is None


@pytest.mark.skipif(not CPYTHON, reason="the method is CPython's")
def test_a_method_keeps_its_context_alive():
    block = bytearray(8 * CALL_WORDS)  # a table of no instructions
    held = sys.getrefcount(block)
    enter = entry.entry(block)
    assert sys.getrefcount(block) == held + 1
    assert enter(3) == 0
    assert np.frombuffer(block, np.int64)[CallWord.DONE] == 3


def test_programs_on_several_numbers_of_threads_at_once(way):
    """Programs on 2, 3 and 5 threads, from three Python threads: a worker left out of one job serves the next only once."""
    expected = trained(1)
    losses = [expected.step(which=FINE, x=X) for _ in range(60)]
    exes = {threads: trained(threads) for threads in (2, 3, 5)}
    found = {threads: [] for threads in exes}

    def work(threads):
        found[threads].append(exes[threads].step(which=FINE, x=X))
        exes[threads].compiled.last.fix(threads)
        found[threads].extend(exes[threads].step() for _ in range(59))

    workers = [threading.Thread(target=work, args=(threads,), daemon=True) for threads in exes]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert all(of == losses for of in found.values())


def test_a_pool_that_gets_no_more_threads_goes_on_with_fewer(monkeypatch):
    exe, expected = trained(2), trained(1)
    runner = runner_of(exe, 2)
    expected.step(which=FINE, x=X)

    def refused(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    runner.fix(1000)
    assert [exe.step() for _ in range(3)] == [expected.step() for _ in range(3)]


def test_the_number_of_threads_is_asked_for_now_and_then():
    """The trials at first, and one call in CALLS_PER_RECORD after them; each run is recorded once."""
    exe = trained(2)
    exe.step(which=FINE, x=X)
    recorded, tuner = [], exe.compiled.last.tuner
    record, choose = tuner.record, tuner.choose
    tuner.record = lambda seconds, runs: recorded.append((seconds, runs)) or record(seconds, runs)
    counts = []
    tuner.choose = lambda: counts.append(choose()) or counts[-1]
    for _ in range(200):
        exe.step()
    assert 25 <= len(recorded) <= 120
    assert all(seconds > 1e-7 for seconds, _ in recorded)
    assert sum(runs for _, runs in recorded) in range(192, 202)
    assert {1, 8} >= {runs for _, runs in recorded} >= {1}
    exe.compiled.last.run(500)
    assert exe.compiled.last.done == 500


PREPARED = """\
import os, sys, threading, time
import numpy as np
import graphexec as gx
from graphexec.abi import CALL_WORDS, CallWord

g = gx.Graph("long")
v = g.input("v", (200_000,))
g.output(gx.ops.sum(gx.ops.sin(v) * gx.ops.tanh(v), name="s"))
v = np.linspace(-3, 3, 200_000, dtype=np.float32)
exe = gx.compile(g, threads=2)
expected = exe(v=v)["s"]
exe.compiled.last.fix(2)
"""

FORK_WHILE_BUSY = """\
other = gx.compile(g, threads=2)
other(v=v)
busy = other.compiled.last
busy.fix(2)
worker = threading.Thread(target=busy.run, args=(10**9,))
worker.start()
while busy.done < 3:
    time.sleep(1e-3)
child = os.fork()
if child == 0:  # the pool's lock was held by a thread that is not here
    same = all(exe(v=v)["s"] == expected for _ in range(3))
    workers = sum(t.name.startswith("graphexec-") and t.is_alive() for t in threading.enumerate())
    os._exit(0 if same and workers == 1 else 3)
status = os.waitpid(child, 0)[1]
busy.progress[1] = 1
worker.join()
assert os.waitstatus_to_exitcode(status) == 0, status
assert exe(v=v)["s"] == expected
"""

END_WHILE_BUSY = """\
def work():
    while True:
        exe.compiled.last.run(TIMES)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
print("over")
"""

INTERRUPT = """\
import _thread, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in the background without it
f = gx.Graph("fit")
x, w = f.input("x", ("n", 16)), f.parameter("w", (16, 16), init="normal(std=0.1)")
f.output(gx.ops.mean(gx.ops.tanh(x @ w), name="loss"))
fitted = gx.compile(f, loss="loss", optimizer=gx.SGD(lr=0.1), threads=2)
data = {"x": np.ones((1_000_000, 16), np.float32)}
threading.Timer(0.2, _thread.interrupt_main).start()
seen = []
try:
    fitted.fit(data, epochs=100, batch_size=1, progress=False, on_epoch=seen.append)
except KeyboardInterrupt:
    assert len(seen) < 5 and np.isfinite(fitted.parameters["w"]).all()
else:
    raise AssertionError("it went on")
"""


def script(text, **environment):
    done = subprocess.run(
        [sys.executable, "-c", text], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done


def over(text, times, **environment):
    """Runs a script, which goes on to end while a daemon runs a program; in short calls, or in one that does not end."""
    done = script(PREPARED + text + END_WHILE_BUSY.replace("TIMES", times), **environment)
    assert done.stdout == "over\n"
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="fork without exec is safe on Linux only")
def test_a_child_forked_while_the_pool_is_busy_has_its_own():
    over(FORK_WHILE_BUSY, "1", PYTHONWARNINGS="ignore::DeprecationWarning")


def test_an_interrupt_stops_a_long_epoch():
    over(INTERRUPT, "10**9")


@pytest.mark.skipif(not CPYTHON, reason="the method is CPython's")
def test_what_is_kept_on_disk_has_no_addresses(monkeypatch):
    """Another process, whose libraries lie elsewhere, loads the same object code."""
    codes, link = [], library.link
    monkeypatch.setattr(toolchain, "symbol_name", lambda *a, real=toolchain.symbol_name: real(*a) + "_again")
    monkeypatch.setattr(library, "link", lambda payload, name: codes.append(payload) or link(payload, name))
    make = entry.method_maker.__wrapped__()  # which keeps what its methods point to
    assert make(bytearray(8 * CALL_WORDS))(1) == 0
    for name in entry.CPYTHON_SYMBOLS:
        address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
        assert address.to_bytes(8, sys.byteorder) not in codes[0]
        assert f"graphexec_python_{name}".encode() in codes[0]


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_the_code_is_right_for_arm_too(machine, system, monkeypatch):
    """As far as another machine's compiler can say."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(sys, "platform", system)
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine()
    running = "\n".join([*entry.running_ir("run", "internal"), entry.METHOD_IR.format(name="method")])
    for text in (running, thread_pool_ir.serving("worker")):
        module = llvm.parse_assembly(text)
        module.triple = "aarch64-unknown-linux-gnu"
        module.verify()
        assert len(target.emit_object(module)) > 1000
        assert "llvm.aarch64.hint" in text
