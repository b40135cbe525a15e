"""The choice of a number of threads, with invented times."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.runtime.thread_tuner import MAX_RUNS_BETWEEN_TRIALS, MAX_TRIAL_RUNS, MIN_RUNS_BETWEEN_TRIALS, ThreadTuner


def play(tuner, seconds, runs):
    """Runs a program that takes seconds[threads]; the number of threads of each run."""
    used = []
    while len(used) < runs:
        threads, most = tuner.choose()
        count = min(most, runs - len(used))
        tuner.record(seconds[threads], count)
        used += [threads] * count
    return used


@pytest.mark.parametrize(("several", "one", "better"), [(1.0, 1.7, 4), (1.7, 1.0, 1), (1.0, 1.0, 4)])
def test_what_is_faster_is_used(several, one, better):
    used = play(ThreadTuner(4), {4: several, 1: one}, 8 * MIN_RUNS_BETWEEN_TRIALS)
    assert used[:8] == [4, 4, 1, 1, 4, 4, 1, 1]  # the first run of each trial does not count
    assert used[8 : 8 + MIN_RUNS_BETWEEN_TRIALS] == [better] * MIN_RUNS_BETWEEN_TRIALS
    assert used[8 + MIN_RUNS_BETWEEN_TRIALS : 10 + MIN_RUNS_BETWEEN_TRIALS] == [5 - better] * 2  # it is tried again
    assert used[10 + MIN_RUNS_BETWEEN_TRIALS :].count(5 - better) <= 4


def test_short_runs_are_tried_several_times():
    used = play(ThreadTuner(2), {2: 1e-5, 1: 1e-5}, 4 * MAX_TRIAL_RUNS)
    assert used == ([2] * MAX_TRIAL_RUNS + [1] * MAX_TRIAL_RUNS) * 2


def test_a_change_of_the_machine_is_noticed():
    tuner, seconds = ThreadTuner(2), {2: 1.0, 1: 1.8}
    play(tuner, seconds, 10 * MAX_RUNS_BETWEEN_TRIALS)
    assert tuner.best == 2
    seconds[2] = 5.0  # somebody else keeps the other processor busy
    used = play(tuner, seconds, MAX_RUNS_BETWEEN_TRIALS + MIN_RUNS_BETWEEN_TRIALS)
    assert tuner.best == 1
    assert used[-MIN_RUNS_BETWEEN_TRIALS // 2 :].count(2) <= 2


def test_a_single_disturbed_run_changes_nothing():
    tuner = ThreadTuner(2)
    play(tuner, {2: 1.0, 1: 1.5}, 8 + MIN_RUNS_BETWEEN_TRIALS // 2)
    tuner.choose()
    tuner.record(2.5, 1)
    play(tuner, {2: 1.0, 1: 1.5}, MIN_RUNS_BETWEEN_TRIALS)
    assert tuner.best == 2


def test_runs_in_one_call_are_counted_while_their_threads_change():
    g = gx.Graph("long")
    v = g.parameter("v", value=np.linspace(-1, 1, 200_000, dtype=np.float32))
    loss = gx.ops.sum(gx.ops.sin(v) * gx.ops.tanh(v), name="loss")
    g.output(loss)
    several, one = (gx.compile(g, loss="loss", optimizer=gx.SGD(lr=0.01), threads=n) for n in (2, 1))
    several.step()
    one.step()
    runner = several.compiled.last
    runner.run(99)
    assert runner.done == 99
    one.compiled.last.run(99)
    np.testing.assert_array_equal(several.parameters["v"], one.parameters["v"])
    runner.progress[1] = 1  # the flag that Ctrl-C sets
    runner.run(10)
    assert runner.done == 0
