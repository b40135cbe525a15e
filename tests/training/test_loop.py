"""Where an epoch runs, and when its order is drawn."""

import threading
import time

import numpy as np
import pytest

import graphexec as gx
from graphexec.training import loop


class Steps:
    """A runner that takes its time, and remembers who asked for how many steps."""

    def __init__(self, seconds):
        self.seconds, self.progress, self.asked, self.done = seconds, np.zeros(3, np.int64), [], 0

    def run(self, times):
        time.sleep(self.seconds * times)
        self.asked.append((times, threading.current_thread() is threading.main_thread()))


def test_a_short_epoch_runs_in_the_calling_thread():
    steps = Steps(0.0)
    with loop._Watch(False, 0, "") as watch:
        for times in (10, 1, 10):
            watch.run(steps, times)
        assert watch._pool is None
    assert steps.asked == [(1, True), (1, True), (8, True), (1, True), (10, True)]


def test_a_long_epoch_runs_beside_it_also_after_a_short_rest():
    """What is known is what a step takes: a rest of one step says nothing else of the next epoch."""
    steps = Steps(0.003)
    with loop._Watch(False, 0, "") as watch:
        for times in (10, 1, 10):
            watch.run(steps, times)
    assert steps.asked == [(1, True), (1, True), (8, False), (1, True), (10, False)]


def graph():
    g = gx.Graph("line")
    x, y = g.input("x", ("n", 3)), g.input("y", ("n", 1))
    w = g.parameter("w", (3, 1), init="zeros")
    g.output(gx.ops.mean(gx.ops.square(x @ w - y), name="loss"))
    return g


@pytest.mark.parametrize("start", [0, 2])
def test_orders_drawn_ahead_are_the_same(start, monkeypatch, rng):
    data = {"x": rng.standard_normal((50, 3)).astype("f"), "y": rng.standard_normal((50, 1)).astype("f")}
    drawn, draw = [], loop._Shuffles._draw
    monkeypatch.setattr(loop._Shuffles, "_draw", lambda self, epoch: drawn.append(epoch) or draw(self, epoch))
    found = {}
    for many in (1, 1000):
        monkeypatch.setattr(loop, "MANY", many)
        exe = gx.compile(graph(), loss="loss", optimizer=gx.SGD(lr=0.05), seed=7)
        history = exe.fit(data, epochs=4, batch_size=8, start_epoch=start, progress=False)
        found[many] = [e["loss"] for e in history], exe.parameters["w"].tolist()
    assert found[1] == found[1000]
    assert drawn == 2 * list(range(start + 1, start + 5))  # each once, and none that no epoch asks for
    assert loop._Shuffles(7, 50, 1, lambda: pytest.fail("one epoch needs no thread")).order(1).tolist() == (
        np.random.default_rng([7, 1]).permutation(50).tolist()
    )


def test_what_is_wrong_in_the_middle_of_an_epoch_is_said(rng):
    """After the steps that are timed, by the loop that does the rest."""
    g = gx.Graph("labels")
    x, label = g.input("x", ("n", 3)), g.input("label", ("n",), "int64")
    g.output(gx.ops.softmax_cross_entropy(x @ g.parameter("w", (3, 4), init="zeros"), label, name="loss"))
    exe = gx.compile(g, loss="loss", optimizer=gx.SGD(lr=0.1))
    label = np.arange(40) % 4
    label[33] = 4
    with pytest.raises(gx.KernelError, match="loss"):
        exe.fit({"x": rng.standard_normal((40, 3)).astype("f"), "label": label}, batch_size=4, shuffle=False, progress=False)
