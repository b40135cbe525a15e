"""Where an epoch runs, and in what order."""

import threading
import time

import numpy as np
import pytest

import graphexec as gx
from graphexec.training import loop
from graphexec.training.divergence import LastFinite


class Steps:
    """A runner that takes its time, and remembers who asked for how many steps."""

    def __init__(self, seconds):
        self.seconds, self.progress, self.asked, self.done = seconds, np.zeros(3, np.int64), [], 0

    def run(self, times):
        time.sleep(self.seconds * times)
        self.asked.append((times, threading.current_thread() is threading.main_thread()))


def test_a_short_epoch_runs_in_the_calling_thread():
    steps = Steps(0.0)
    with loop.Watch(False, 0, "") as watch:
        for times in (10, 1, 10):
            watch.run(steps, times)
        assert watch.background is None
    assert steps.asked == [(1, True), (1, True), (8, True), (1, True), (10, True)]


def test_a_long_epoch_runs_beside_it_also_after_a_short_rest():
    """What is known is what a step takes: a rest of one step says nothing else of the next epoch."""
    steps = Steps(0.003)
    with loop.Watch(False, 0, "") as watch:
        for times in (10, 1, 10):
            watch.run(steps, times)
    assert steps.asked == [(1, True), (1, True), (8, False), (1, True), (10, False)]


def graph():
    g = gx.Graph("line")
    x, y = g.input("x", ("n", 3)), g.input("y", ("n", 1))
    w = g.parameter("w", (3, 1), init="zeros")
    g.output(gx.ops.mean(gx.ops.square(x @ w - y), name="loss"))
    return g


def test_an_epoch_s_order_is_drawn_from_the_seed_and_its_number(rng):
    """So training that goes on does what it would have done, and two epochs differ."""
    data = {"x": rng.standard_normal((50, 3)).astype("f"), "y": rng.standard_normal((50, 1)).astype("f")}
    exe = gx.compile(graph(), loss="loss", optimizer=gx.SGD(lr=0.05), seed=7)
    passes = loop.Passes(exe.compiled, data, 8, shuffle=True)
    orders, kept = {}, LastFinite(exe.compiled.state, 0)
    for epoch in (3, 1, 2):
        with loop.Watch(False, 0, "") as watch:
            passes.run(epoch, watch, kept)
        orders[epoch] = passes.permutation.tolist()
        assert orders[epoch] == gx.ops.shuffle(np.zeros(50, np.int64), np.array([7, epoch])).tolist()
    assert sorted(orders[1]) == list(range(50))
    assert orders[1] != orders[2] != orders[3]


@pytest.mark.parametrize("seed", [0, 2**63 + 5, 2**64 + 1])
def test_any_seed_shuffles(seed, rng):
    data = {"x": rng.standard_normal((50, 3)).astype("f"), "y": rng.standard_normal((50, 1)).astype("f")}
    exe = gx.compile(graph(), loss="loss", optimizer=gx.SGD(lr=0.05), seed=seed)
    assert len(exe.fit(data, epochs=2, batch_size=8, progress=False)) == 2


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
