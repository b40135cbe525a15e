"""pace: how many threads a program is run on, found by trying.

What several threads gain depends on the machine, on what else it does just now, and on how much of a program they can
share; any number of them gives the same bits. So a program is timed on all its threads and on one, runs on what was
faster, and the other is tried again from time to time, ever more rarely while nothing changes.
"""

from __future__ import annotations

FIRST = (1, 0, 1, 0)
"""What is timed to begin with, by index; the very first run, which starts threads and fills caches, is not."""

SOONEST, RAREST = 32, 1024
"""Runs after which the other number is tried again."""


class Pace:
    """Picks between ``threads`` threads and one; ``pick`` and ``tell`` enclose every run."""

    def __init__(self, threads: int) -> None:
        self._counts = (threads, 1)
        self._seconds = [0.0, 0.0]
        self._best = 0
        self._trying = -1
        self._schedule = list(FIRST)
        self._warm = False
        self._wait = self._left = SOONEST

    @property
    def best(self) -> int:
        """The number of threads that was faster."""
        return self._counts[self._best]

    def pick(self) -> tuple[int, int]:
        """A number of threads, and how many runs may be done on it before asking again."""
        if not self._warm:
            return self._counts[0], 1
        if self._schedule:
            self._trying = self._schedule[0]
        elif self._left <= 0:
            self._trying = 1 - self._best
        else:
            return self._counts[self._best], self._left
        return self._counts[self._trying], 1

    def tell(self, seconds: float, runs: int) -> None:
        """How long a run took, the mean of so many."""
        if not self._warm:
            self._warm = True
            return
        if self._trying < 0:
            self._left -= runs
            self._note(self._best, seconds)
            return
        self._note(self._trying, seconds)
        self._trying = -1
        if self._schedule:
            self._schedule.pop(0)
        best = 0 if self._seconds[0] <= self._seconds[1] else 1
        self._wait = SOONEST if best != self._best else min(2 * self._wait, RAREST)
        self._best, self._left = best, self._wait

    def _note(self, which: int, seconds: float) -> None:
        """A moving mean, so that one run that was disturbed does not decide."""
        known = self._seconds[which]
        self._seconds[which] = seconds if known == 0.0 else known + (seconds - known) / 4
