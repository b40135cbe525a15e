"""run: a program's table is walked by compiled code, on one thread or several.

That code knows addresses and integers only. The GIL is released while it runs; a kernel that returns a status other than 0
stops it, and the caller learns which instruction that was.

Several threads walk the same table. An instruction is shared, and every thread does its part of it or takes one piece
after another, or serial, and the first thread does it alone; where one needs what another thread has done, its row says
that all must meet first. Kernels cut their work so that bits do not depend on how many threads there are.
Threads that wait spin for a while, then let others have the processor, and sleep when no program runs. The
code is in `native/entry.py` and `native/crew.py`.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from pathlib import Path

import numpy as np

from graphexec.runtime import entry
from graphexec.runtime import thread_pool_ir as native

SERIAL, BARRIER, KIND = 1, 2, 4
"""Flags of a row: the first thread does it alone; all threads meet before it; times which kind of pieces it is cut into."""

FLAGS, ENOUGH = native.FLAGS, native.ENOUGH
"""Bits for flags, above which stands into how many pieces the instruction can be cut; and how many for each thread are so many
that they are taken one by one."""

ASK = entry.ASK

FOREVER = 2**62
"""Calls, or runs."""

loop = entry.alone


class Call:
    """A table that can be run from Python: ``enter(times)`` does so and returns a status.

    Unless it is said on how many threads, it runs on that of its caller. ``progress`` is read, and its second word written,
    while it runs: times done, a flag that stops before the next time, the instruction that failed.
    """

    def __init__(self, table: np.ndarray) -> None:
        block = bytearray(8 * entry.WORDS)
        self.progress = np.frombuffer(block, np.int64, 3)
        self.words = memoryview(block).cast("q")  # a NumPy element takes longer
        self.words[entry.TABLE], self.words[entry.COUNT] = table.ctypes.data, len(table)
        self.enter = entry.entry(block)
        self._given = 0

    def pace(self) -> None:
        """From now on the time is taken, and the status is ASK until it is said on how many threads to run."""
        self.words[entry.CREW] = thread_pool().address

    def use(self, threads: int, calls: int = FOREVER, runs: int = FOREVER) -> None:
        """Goes on, on so many threads if they are free, for so many calls and no more than so many runs."""
        self.pace()
        self.words[entry.THREADS] = thread_pool().start(threads)
        self.words[entry.CALLS], self.words[entry.RUNS], self.words[entry.NANOSECONDS] = calls, runs, 0
        self._given = runs

    def spent(self) -> tuple[float, int]:
        """Seconds that runs took since `use`, and how many there were."""
        return self.words[entry.NANOSECONDS] * 1e-9, self._given - self.words[entry.RUNS]


class ThreadPool:
    """The worker threads of this process: one program at a time; who finds them busy works alone, with the same bits."""

    def __init__(self) -> None:
        raw = np.zeros(native.WORDS + 8, np.int64)
        start = (-raw.ctypes.data % 64) // 8
        self._state = raw[start : start + native.WORDS]
        self._words = self._state.data
        self.address: int = self._state.ctypes.data
        self._forget()

    def _forget(self) -> None:
        """Nobody is hired and nothing runs: as it is to begin with, and in a forked child."""
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._closed = False
        self._state[:] = 0
        self._words[native.MEMBERS] = 1

    def start(self, threads: int) -> int:
        """Sees to it that the crew has so many members, the caller among them; how many there are to be had."""
        with self._lock:
            if self._closed:  # Python is about to end and starts no thread any more
                return 1
            threads = min(threads, native.MOST)
            while len(self._workers) + 1 < threads:
                number = len(self._workers) + 1
                self._words[native.KNOWN + number] = self._words[native.GENERATION]
                arguments = (self.address, number)
                worker = threading.Thread(target=entry.serve(), args=arguments, name=f"graphexec-{number}", daemon=True)
                try:
                    worker.start()
                except RuntimeError:  # the system has no thread to give
                    return number
                self._workers.append(worker)
                self._words[native.MEMBERS] = number + 1
            return threads

    def shutdown(self) -> None:
        """Ends the workers, unless a program goes on running."""
        with self._lock:
            self._closed = True
            self._words[native.MEMBERS] = 1
            end = time.monotonic() + 1.0
            while self._workers and not entry.serve()(self.address, 0):
                if time.monotonic() > end:
                    return
                time.sleep(1e-3)
            for worker in self._workers:
                worker.join(timeout=1.0)
            self._workers.clear()
            self._words[native.LOCK] = 0


_crew: list[ThreadPool] = []


def thread_pool() -> ThreadPool:
    """The crew of this process; a forked child has none of its parent's threads and hires its own."""
    if not _crew:
        _crew.append(ThreadPool())
        atexit.register(_crew[0].shutdown)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_crew[0]._forget)
    return _crew[0]


def default_threads() -> int:
    """`GRAPHEXEC_NUM_THREADS`, or the processors that this process may use: CPU affinity and container limits count."""
    given = os.environ.get("GRAPHEXEC_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return count
