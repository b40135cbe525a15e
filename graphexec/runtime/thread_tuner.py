"""pace: how many threads a program is run on, found by trying.

What several threads gain depends on the machine, on what else it does just now, and on how much of a program they can
share; any number of them gives the same bits. So a program is timed on all its threads and on one, runs on what was
faster, and the other is tried again from time to time, ever more rarely while nothing changes.
"""

from __future__ import annotations

FIRST = (0, 1, 0, 1)
"""What is tried to begin with, by index."""

TRIAL = 2e-3
"""Seconds of a trial, as far as MOST_RUNS allow. Its first run finds its data in other cores' caches, and does not count."""

MOST_RUNS = 8

SOONEST, RAREST = 64, 1024
"""Runs after which the other number is tried again."""


STRETCH = 8
"""Calls outside a trial that are told of as one, with their mean."""


class ThreadTuner:
    """Picks between ``threads`` threads and one; ``pick`` and ``tell`` enclose every run of a trial, and a STRETCH outside."""

    def __init__(self, threads: int) -> None:
        self._counts = (threads, 1)
        self._seconds = [0.0, 0.0]
        self._best = 0
        self._first = list(FIRST)
        self._trial: list[float] = []
        self._trying = self._first.pop(0)
        self._wait = self._left = SOONEST // 2

    @property
    def best(self) -> int:
        """The number of threads that was faster."""
        return self._counts[self._best]

    def pick(self) -> tuple[int, int]:
        """A number of threads, and how many runs may be done on it before asking again."""
        if self._trying >= 0:
            return self._counts[self._trying], 1
        return self._counts[self._best], self._left

    def tell(self, seconds: float, runs: int) -> None:
        """How long a run took, the mean of so many."""
        if self._trying >= 0:
            self._trial.append(seconds)
            if len(self._trial) > 1 and (sum(self._trial) >= TRIAL or len(self._trial) == MOST_RUNS):
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
        self._wait = SOONEST if best != self._best else min(2 * self._wait, RAREST)
        self._best, self._left = best, self._wait
