"""The worker threads of this process.

Several threads walk the same table. Each runs its share of the pieces of a parallel instruction, or takes one piece after
another; thread 0 alone runs the serial ones. A row that needs the results of other threads has a barrier. Kernels cut their
work so that the bits do not depend on the number of threads. A thread that waits spins for a while, then yields the
processor; without a program it sleeps. Their code is in `thread_pool_ir`.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from pathlib import Path

import numpy as np

from graphexec.abi import MAX_THREADS, POOL_WORDS, PoolWord
from graphexec.runtime import entry


class ThreadPool:
    """The worker threads. One program uses them at a time; a call made meanwhile runs on its own thread, with the same bits."""

    def __init__(self) -> None:
        raw = np.zeros(POOL_WORDS + 8, np.int64)
        start = (-raw.ctypes.data % 64) // 8
        self._state = raw[start : start + POOL_WORDS]
        self.words = self._state.data
        self.address: int = self._state.ctypes.data
        self._reset()

    def _reset(self) -> None:
        """No workers and no job: the state of a new pool, and of a forked child's."""
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._closed = False
        self._state[:] = 0
        self.words[PoolWord.THREADS] = 1

    def start(self, threads: int) -> int:
        """Starts workers until there are ``threads`` threads with the caller's; returns the number available."""
        with self._lock:
            if self._closed:  # at exit Python starts no more threads
                return 1
            threads = min(threads, MAX_THREADS)
            while len(self._workers) + 1 < threads:
                number = len(self._workers) + 1
                self.words[PoolWord.KNOWN + number] = self.words[PoolWord.GENERATION]
                arguments = (self.address, number)
                worker = threading.Thread(target=entry.serve(), args=arguments, name=f"graphexec-{number}", daemon=True)
                try:
                    worker.start()
                except RuntimeError:  # the system has no more threads
                    return number
                self._workers.append(worker)
                self.words[PoolWord.THREADS] = number + 1
            return threads

    def shutdown(self) -> None:
        """Ends the workers; gives up after a second if a program is still running."""
        with self._lock:
            self._closed = True
            self.words[PoolWord.THREADS] = 1
            end = time.monotonic() + 1.0
            while self._workers and not entry.serve()(self.address, 0):
                if time.monotonic() > end:
                    return
                time.sleep(1e-3)
            for worker in self._workers:
                worker.join(timeout=1.0)
            self._workers.clear()
            self.words[PoolWord.LOCK] = 0


_pool: list[ThreadPool] = []


def thread_pool() -> ThreadPool:
    """The pool of this process. A forked child has none of its parent's threads and starts its own."""
    if not _pool:
        _pool.append(ThreadPool())
        atexit.register(_pool[0].shutdown)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_pool[0]._reset)
    return _pool[0]


VARIABLE = "GRAPHEXEC_NUM_THREADS"


def default_threads() -> int:
    """`GRAPHEXEC_NUM_THREADS`, or the number of processors available to this process by CPU affinity and container limits."""
    limits = thread_limits()
    return limits.get(VARIABLE) or min(limits.values())


def thread_limits() -> dict[str, int]:
    """What limits the number of threads, and to how many: the variable, if it is set; else the least of the others decides."""
    found = {}
    given = os.environ.get(VARIABLE, "")
    if given.isdigit() and int(given) > 0:
        found[VARIABLE] = int(given)
    found["processors"] = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        found["CPU affinity"] = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            found["container limit"] = max(1, int(quota) // int(period))
    except (OSError, ValueError):
        pass
    return found
