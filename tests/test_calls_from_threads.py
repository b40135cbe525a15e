"""One executable called from several Python threads: each sees it as if it were alone, but for the parameters, which they share."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import graphexec as gx
from graphexec.llvm import toolchain

ops = gx.ops


def graph():
    g = gx.Graph("shared")
    x, y = g.input("x", ("n", 3)), g.input("y", ("n",))
    w = g.parameter("w", (3,), value=np.ones(3, "f"))
    g.parameter("unused", (2,), trainable=False)
    h = ops.multiply(x, w, name="h")
    g.output(ops.sum(h, name="total"), ops.add(ops.sum(y, name="of_y"), ops.sum(h), name="loss"))
    return g


def compiled(**options):
    return gx.compile(graph(), loss="loss", optimizer="sgd(lr=0.0)", threads=1, keep_deltas=True, **options)


def together(count, work):
    """Runs ``work(number)`` in that many threads; raises what the first of them raised."""
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def inputs(number, k):
    rows = 1 + (number + k) % 3
    return {"x": np.full((rows, 3), number * 1000 + k % 1000, "f"), "y": np.full(rows, number, "f")}


def mixed(exe, number, calls, folder):
    """Calls of all kinds, each with a result that only this thread's inputs give."""
    for k in range(calls):
        given = inputs(number, k)
        total, loss = given["x"].sum(), given["x"].sum() + given["y"].sum()
        kind = (number + k) % 9
        if kind in (0, 1):
            assert exe(**given) == {"total": total, "loss": loss}
        elif kind == 2:
            assert exe.step(**given) == loss
            assert exe() == {"total": total, "loss": loss}
        elif kind in (3, 4):
            found, gradients = exe.gradients(**given)
            assert found == loss
            np.testing.assert_array_equal(gradients["w"], given["x"].sum(axis=0))
            if k % 5 == 0:
                assert exe.deltas["h"].shape == given["x"].shape
                exe(**inputs(number, k + 1))
                assert exe.deltas["h"].shape == given["x"].shape
        elif kind == 5:
            exe(**given)
            for name, array in exe.values().items():
                np.testing.assert_array_equal(array, given[name])
            assert exe.program.array(exe.program.fn.outputs["total"]).shape == ()
        elif kind == 6:
            exe.parameters["unused"] = np.full(2, k, "f")
            assert exe.gradients(**given)[0] == loss
        elif kind == 7 and k % 50 == 0:
            assert exe.evaluate(given)["loss"] == pytest.approx(loss)
            path = folder / f"{number}.safetensors"
            exe.save(path)
            exe.load(path)
        elif kind == 8 and k % 50 == 0:
            assert exe.fit(given, epochs=1, progress=False, batch_size=2)[0]["epoch"] == 1


@pytest.mark.parametrize("calls", [60, pytest.param(10_000, marks=pytest.mark.exhaustive)])
def test_mixed_calls_of_eight_threads_give_each_its_own_results(calls, tmp_path):
    exe = compiled()
    together(8, lambda number: mixed(exe, number, calls, tmp_path))


def test_what_a_call_leaves_behind_belongs_to_its_thread():
    exe = compiled()
    mine, seen = inputs(1, 4), {}
    exe.gradients(**mine)
    kept = exe.deltas

    def other(number):
        seen["before"] = exe.values()["x"].copy(), exe()["total"]  # no call of its own yet: that of the last caller
        exe.gradients(**inputs(2, 4))
        seen["after"] = exe()["total"]

    together(1, other)
    assert seen["before"][1] == mine["x"].sum()
    np.testing.assert_array_equal(seen["before"][0], mine["x"])
    assert seen["after"] == inputs(2, 4)["x"].sum()
    np.testing.assert_array_equal(exe.values()["x"], mine["x"])
    assert exe()["total"] == mine["x"].sum()
    assert exe.deltas is kept
    np.testing.assert_array_equal(kept["total"] if "total" in kept else 0, 0)
    assert exe.gradients()[0] == mine["x"].sum() + mine["y"].sum()


def test_deltas_that_are_still_held_do_not_change():
    g = gx.Graph("squares")
    x = g.input("x", (3,))
    g.output(ops.sum(ops.square(ops.multiply(x, 3.0, name="h")), name="loss"))
    exe = gx.compile(g, loss="loss", wrt=["x"], threads=1, keep_deltas=True)
    exe.gradients(x=np.ones(3, "f"))
    first = exe.deltas
    exe.gradients(x=np.full(3, 2, "f"))
    assert first["h"].tolist() == [6, 6, 6]
    assert exe.deltas["h"].tolist() == [12, 12, 12]


def test_a_refused_call_leaves_the_other_threads_inputs_alone():
    exe = compiled()
    together(1, lambda _: exe(**inputs(3, 3)))
    exe(**inputs(1, 3))

    def other(number):
        exe(**inputs(2, 3))
        with pytest.raises(gx.DataError):
            exe(x=np.zeros((2, 4), "f"), y=np.zeros(2, "f"))
        assert exe()["total"] == inputs(2, 3)["x"].sum()

    together(1, other)
    with pytest.raises(gx.DataError):
        exe(x=np.zeros((2, 4), "f"), y=np.zeros(2, "f"))
    assert exe()["total"] == inputs(1, 3)["x"].sum()


def test_a_thread_that_steps_in_a_loop_does_not_keep_another_out():
    exe = gx.compile(graph(), loss="loss", optimizer="sgd(lr=0.0)", threads=1)
    data = {"x": np.ones((20_000, 3), "f"), "y": np.ones(20_000, "f")}
    done = threading.Event()
    waits = []

    def work(number):
        if number == 0:
            while not done.is_set():
                exe.step(**data)
            return
        try:
            for _ in range(20):
                begin = time.perf_counter()
                exe(**data)
                waits.append(time.perf_counter() - begin)
        finally:
            done.set()

    together(2, work)
    assert sorted(waits)[10] < 0.5


def test_fit_lets_others_in_between_epochs():
    exe = compiled()
    seen = []

    def work(number):
        if number == 0:
            data = {"x": np.ones((1000, 3), "f"), "y": np.ones(1000, "f")}
            while len(seen) < 3:
                exe.fit(data, epochs=5, batch_size=10, progress=False, on_epoch=lambda entry: exe(**inputs(0, 0)))
        else:
            for k in range(3):
                seen.append(exe(**inputs(1, k))["total"] == inputs(1, k)["x"].sum())

    together(2, work)
    assert seen == [True] * 3


def test_a_call_inside_a_call_of_the_same_thread_is_refused():
    exe = compiled()
    before = exe(**inputs(1, 1))

    class Sneaky:
        def __array__(self, dtype=None, copy=None):
            exe(**inputs(2, 2))
            raise AssertionError

    with pytest.raises(gx.GraphExecError, match="in the middle of a call of the same thread"):
        exe(x=Sneaky(), y=np.zeros(1, "f"))
    assert exe() == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="it needs a timer")
def test_interrupts_leave_the_executable_free():
    exe = compiled()

    class Interrupt(KeyboardInterrupt):
        pass

    def interrupt(*_):
        raise Interrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    stop = threading.Event()
    other = threading.Thread(target=lambda: [exe(**inputs(3, 1)) for _ in iter(stop.is_set, True)])
    other.start()
    try:
        for k in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + 3e-5 * (k % 17))
                while True:
                    assert exe(**inputs(1, k))["total"] == inputs(1, k)["x"].sum()
            except Interrupt:
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        stop.set()
        other.join(10)
    assert not other.is_alive()
    assert exe(**inputs(1, 1))["total"] == inputs(1, 1)["x"].sum()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it needs fork")
def test_a_child_forked_during_another_threads_call_can_go_on():
    exe = compiled()
    exe(**inputs(1, 1))
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with exe.compiled.turns.alone():
            inside.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if exe(**inputs(1, 2))["total"] == inputs(1, 2)["x"].sum() else 1)
    leave.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0


def test_programs_of_a_bounded_number_of_sizes_are_kept():
    exe = compiled()
    runners = []
    for rows in (*range(1, 100), 1, 2, 99):
        given = {"x": np.full((rows, 3), rows, "f"), "y": np.ones(rows, "f")}
        assert exe(**given)["total"] == given["x"].sum()
        assert exe.gradients()[0] == given["x"].sum() + rows
        runners.append(weakref.ref(exe.compiled.last))
    gc.collect()
    assert sum(r() is not None for r in runners) <= 40
    assert exe.values()["x"].shape == (99, 3)


FIRST = """
import threading
import numpy as np, graphexec as gx

def work(k):
    try:
        g = gx.Graph("first")
        x, w = g.input("x", ("n", 3)), g.parameter("w", (3, 2), init="ones")
        g.output(gx.ops.mean(gx.ops.square(gx.ops.tanh(x @ w) * (k + 1.5)), name="loss"))
        found = gx.compile(g, loss="loss", threads=1).gradients(x=np.ones((4, 3), "f"))[0]
        assert np.isclose(found, (np.tanh(3) * (k + 1.5)) ** 2, rtol=1e-5)
    except BaseException as error:
        failed.append(error)

failed = []
threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
for t in threads: t.start()
for t in threads: t.join()
assert not failed, failed
"""


def test_threads_that_ask_at_a_time_get_one_result():
    """The definition of a native method, say, must live as long as any method made of it."""
    made = []

    @toolchain.once
    def slow(key):
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(slow, ["a", "a", "b", "a"]))
    assert len(made) == 2
    assert len({id(f) for f in found}) == 2


def test_the_first_graphs_of_a_process_may_be_made_in_several_threads(tmp_path):
    """Ops load at the first question; a thread that asks meanwhile waits for all of them."""
    environment = {**os.environ, "GRAPHEXEC_CACHE_DIR": str(tmp_path)}  # all of them compile
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
