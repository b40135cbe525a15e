"""A program's table as a Python callable; see `entry` for the compiled code behind it.

That code knows addresses and integers only. The GIL is released while it runs; a kernel that returns a status other than 0
stops it, and the caller learns which instruction that was.
"""

from __future__ import annotations

import numpy as np

from graphexec.abi import CALL_WORDS, CallWord
from graphexec.runtime import entry
from graphexec.runtime.thread_pool import thread_pool

FOREVER = 2**62
"""Calls, or runs."""

loop = entry.alone


class CompiledCall:
    """A table that can be run from Python: ``enter(times)`` does so and returns a status.

    Unless it is said on how many threads, it runs on that of its caller. ``progress`` is read, and its second word written,
    while it runs: times done, a flag that stops before the next time, the instruction that failed.
    """

    def __init__(self, table: np.ndarray) -> None:
        block = bytearray(8 * CALL_WORDS)
        self.progress = np.frombuffer(block, np.int64, 3)
        self.words = memoryview(block).cast("q")  # a NumPy element takes longer
        self.words[CallWord.TABLE], self.words[CallWord.COUNT] = table.ctypes.data, len(table)
        self.enter = entry.entry(block)
        self._given = 0

    def pace(self) -> None:
        """From now on the time is taken, and the status is ASK until it is said on how many threads to run."""
        self.words[CallWord.POOL] = thread_pool().address

    def use(self, threads: int, calls: int = FOREVER, runs: int = FOREVER) -> None:
        """Goes on, on so many threads if they are free, for so many calls and no more than so many runs."""
        self.pace()
        self.words[CallWord.THREADS] = thread_pool().start(threads)
        self.words[CallWord.CALLS], self.words[CallWord.RUNS], self.words[CallWord.NANOSECONDS] = calls, runs, 0
        self._given = runs

    def spent(self) -> tuple[float, int]:
        """Seconds that runs took since `use`, and how many there were."""
        return self.words[CallWord.NANOSECONDS] * 1e-9, self._given - self.words[CallWord.RUNS]
