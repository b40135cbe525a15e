"""A program's table as a Python callable; `entry` holds the compiled code behind it.

That code knows addresses and integers only and runs without the GIL. A kernel that returns a status other than 0 stops it,
and the caller learns which instruction that was.
"""

from __future__ import annotations

import numpy as np

from graphexec.abi import CALL_WORDS, CallWord
from graphexec.runtime import entry
from graphexec.runtime.thread_pool import thread_pool

UNLIMITED = 2**62
"""Calls, or runs."""

loop = entry.alone


class CompiledCall:
    """A table that can be run from Python: ``enter(times)`` runs it and returns a status.

    It runs on its caller's thread until `use` gives it more. ``progress`` can be used while it runs: the completed runs, a
    flag that stops it before the next run, and the instruction that failed.
    """

    def __init__(self, table: np.ndarray) -> None:
        context = bytearray(8 * CALL_WORDS)
        self.progress = np.frombuffer(context, np.int64, 3)
        self.words = memoryview(context).cast("q")  # faster to index than a NumPy array
        self.words[CallWord.TABLE], self.words[CallWord.COUNT] = table.ctypes.data, len(table)
        self.enter = entry.entry(context)
        self._given = 0

    def tune(self) -> None:
        """From now on runs are timed, and the status is ASK until `use` sets a number of threads."""
        self.words[CallWord.POOL] = thread_pool().address

    def use(self, threads: int, calls: int = UNLIMITED, runs: int = UNLIMITED) -> None:
        """Continues on ``threads`` threads if the pool is free, for at most that many calls and runs."""
        self.tune()
        self.words[CallWord.THREADS] = thread_pool().start(threads)
        self.words[CallWord.CALLS], self.words[CallWord.RUNS], self.words[CallWord.NANOSECONDS] = calls, runs, 0
        self._given = runs

    def spent(self) -> tuple[float, int]:
        """The seconds that runs took since `use`, and the number of those runs."""
        return self.words[CallWord.NANOSECONDS] * 1e-9, self._given - self.words[CallWord.RUNS]
