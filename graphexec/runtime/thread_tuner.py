"""ThreadTuner: chooses a program's number of threads by timing trial runs.

The gain from several threads depends on the machine, on its other load at the moment, and on the share of a program that
can be divided; the bits do not depend on it. So a program is timed on all its threads and on one and then runs on the
faster number. The other is tried again from time to time, ever more rarely as long as nothing changes.
"""

from __future__ import annotations

FIRST_TRIALS = (0, 1, 0, 1)
"""The first trials, by index of the number of threads."""

TRIAL_SECONDS = 2e-3
"""Length of a trial, unless it reaches MAX_TRIAL_RUNS. Its first run finds its data in other cores' caches and does not count."""

MAX_TRIAL_RUNS = 8

MIN_RUNS_BETWEEN_TRIALS, MAX_RUNS_BETWEEN_TRIALS = 64, 1024
"""Runs before the other number is tried again."""

CALLS_PER_RECORD = 8
"""Outside trials, that many calls are timed together and recorded as one mean."""


class ThreadTuner:
    """Chooses between ``threads`` threads and one.

    Call ``choose`` before and ``record`` after each run of a trial; outside trials, around every CALLS_PER_RECORD calls.
    """

    def __init__(self, threads: int) -> None:
        self._counts = (threads, 1)
        self._seconds = [0.0, 0.0]
        self._best = 0
        self._first = list(FIRST_TRIALS)
        self._trial: list[float] = []
        self._trying = self._first.pop(0)
        self._wait = self._left = MIN_RUNS_BETWEEN_TRIALS // 2

    @property
    def best(self) -> int:
        """The faster number of threads."""
        return self._counts[self._best]

    def choose(self) -> tuple[int, int]:
        """A number of threads, and the most runs to make with it before asking again."""
        if self._trying >= 0:
            return self._counts[self._trying], 1
        return self._counts[self._best], self._left

    def record(self, seconds: float, runs: int) -> None:
        """Takes the mean time of a run, over ``runs`` runs."""
        if self._trying >= 0:
            self._trial.append(seconds)
            if len(self._trial) > 1 and (sum(self._trial) >= TRIAL_SECONDS or len(self._trial) == MAX_TRIAL_RUNS):
                self._decide()
            return
        self._left -= runs
        known, other = self._seconds[self._best], self._seconds[1 - self._best]
        mean = self._seconds[self._best] = known + (seconds - known) * min(runs / 8, 1.0)  # one disturbed run does not decide
        if self._left <= 0 or mean > 1.2 * other:
            self._trying = 1 - self._best

    def _decide(self) -> None:
        """Ends a trial."""
        self._seconds[self._trying] = min(self._trial[1:])
        self._trial.clear()
        if self._first:
            self._trying = self._first.pop(0)
            return
        self._trying = -1
        best = 0 if self._seconds[0] <= self._seconds[1] else 1
        self._wait = MIN_RUNS_BETWEEN_TRIALS if best != self._best else min(2 * self._wait, MAX_RUNS_BETWEEN_TRIALS)
        self._best, self._left = best, self._wait
