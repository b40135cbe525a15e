"""The worker threads of this process.

Several threads walk the same table. An instruction is parallel, and every thread does its share of its pieces or takes one
piece after another, or serial, and thread 0 does it alone; where one needs what another thread has done, its row says that
all must wait for one another first. Kernels cut their work so that bits do not depend on how many threads there are. Threads
that wait spin for a while, then yield the processor, and sleep when no program runs; their code is in `thread_pool_ir`.
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
    """The worker threads of this process: one program at a time; who finds them busy works alone, with the same bits."""

    def __init__(self) -> None:
        raw = np.zeros(POOL_WORDS + 8, np.int64)
        start = (-raw.ctypes.data % 64) // 8
        self._state = raw[start : start + POOL_WORDS]
        self._words = self._state.data
        self.address: int = self._state.ctypes.data
        self._forget()

    def _forget(self) -> None:
        """Nobody is hired and nothing runs: as it is to begin with, and in a forked child."""
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._closed = False
        self._state[:] = 0
        self._words[PoolWord.THREADS] = 1

    def start(self, threads: int) -> int:
        """Sees to it that the crew has so many members, the caller among them; how many there are to be had."""
        with self._lock:
            if self._closed:  # Python is about to end and starts no thread any more
                return 1
            threads = min(threads, MAX_THREADS)
            while len(self._workers) + 1 < threads:
                number = len(self._workers) + 1
                self._words[PoolWord.KNOWN + number] = self._words[PoolWord.GENERATION]
                arguments = (self.address, number)
                worker = threading.Thread(target=entry.serve(), args=arguments, name=f"graphexec-{number}", daemon=True)
                try:
                    worker.start()
                except RuntimeError:  # the system has no thread to give
                    return number
                self._workers.append(worker)
                self._words[PoolWord.THREADS] = number + 1
            return threads

    def shutdown(self) -> None:
        """Ends the workers, unless a program goes on running."""
        with self._lock:
            self._closed = True
            self._words[PoolWord.THREADS] = 1
            end = time.monotonic() + 1.0
            while self._workers and not entry.serve()(self.address, 0):
                if time.monotonic() > end:
                    return
                time.sleep(1e-3)
            for worker in self._workers:
                worker.join(timeout=1.0)
            self._workers.clear()
            self._words[PoolWord.LOCK] = 0


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
