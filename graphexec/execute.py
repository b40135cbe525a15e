"""run: the compiled loop that walks a program's table, on one thread or several.

It knows addresses and integers only. The GIL is released while it runs; a kernel that returns a status other than 0 stops
it, and the caller learns which instruction that was.

Several threads walk the same table. An instruction is shared, and every thread does its part of it, or serial, and the
first thread does it alone; where one needs what another thread has done, its row says that all must meet first. Kernels
cut their work so that bits do not depend on how many threads there are. Threads that wait spin for a while, then let
others have the processor, and sleep when no program runs.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import platform
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from graphexec.native import fingerprint, library, toolchain

SERIAL, MEET = 1, 2
"""Flags of a row: the first thread does it alone; all threads meet before it."""

PROGRESS_WORDS = 3
"""Times done, a flag that stops the loop before the next time, the instruction that failed."""

# words of the state that threads share, each on a cache line of its own
_GENERATION, _JOB, _ARRIVED, _GO, _STATUS, _SLEEPERS, _END = 0, 8, 16, 24, 32, 40, 48
_TABLE, _COUNT, _TIMES, _PROGRESS, _THREADS, _BASE = range(_JOB, _JOB + 6)

_ALONE = """
define i64 @{name}(ptr %table, i64 %count, i64 %times, ptr %progress) nounwind {{
entry:
  br label %again
again:
  %t = phi i64 [ 0, %entry ], [ %t.next, %done ]
  %more = icmp slt i64 %t, %times
  br i1 %more, label %asked, label %leave
asked:
  %stop = getelementptr i64, ptr %progress, i64 1
  %flag = load atomic i64, ptr %stop monotonic, align 8
  %halt = icmp ne i64 %flag, 0
  br i1 %halt, label %leave, label %head
head:
  %i = phi i64 [ 0, %asked ], [ %i.next, %next ]
  %left = icmp slt i64 %i, %count
  br i1 %left, label %body, label %done
body:
  %at = mul i64 %i, 3
  %f.at = getelementptr i64, ptr %table, i64 %at
  %f.word = load i64, ptr %f.at, align 8
  %f = inttoptr i64 %f.word to ptr
  %r.index = add i64 %at, 1
  %r.at = getelementptr i64, ptr %table, i64 %r.index
  %r.word = load i64, ptr %r.at, align 8
  %r = inttoptr i64 %r.word to ptr
  %status = call i64 %f(ptr %r, i64 0, i64 1)
  %bad = icmp ne i64 %status, 0
  br i1 %bad, label %fail, label %next
next:
  %i.next = add i64 %i, 1
  br label %head
fail:
  %where = getelementptr i64, ptr %progress, i64 2
  store i64 %i, ptr %where, align 8
  ret i64 %status
done:
  %t.next = add i64 %t, 1
  store atomic i64 %t.next, ptr %progress monotonic, align 8
  br label %again
leave:
  ret i64 0
}}
"""

_TOGETHER = """
declare i32 @sched_yield()
{declare_sleep}

define internal void @relax() alwaysinline {{
  {pause}
  ret void
}}

; all threads arrive: the last one lets the others go
define internal void @meet(ptr %state, i64 %target) {{
entry:
  %arrived = getelementptr i64, ptr %state, i64 {arrived}
  %before = atomicrmw add ptr %arrived, i64 1 acq_rel
  br label %look
look:
  %spins = phi i64 [ 0, %entry ], [ %spins.next, %wait.end ]
  %now = load atomic i64, ptr %arrived acquire, align 8
  %there = icmp sge i64 %now, %target
  br i1 %there, label %go, label %wait
wait:
  %spins.next = add i64 %spins, 1
  %patient = icmp slt i64 %spins.next, {spins}
  br i1 %patient, label %spin, label %yield
spin:
  call void @relax()
  br label %wait.end
yield:
  call i32 @sched_yield()
  br label %wait.end
wait.end:
  br label %look
go:
  ret void
}}

define internal void @walk(ptr %state, i64 %ith) {{
entry:
  %table.at = getelementptr i64, ptr %state, i64 {table}
  %table.word = load i64, ptr %table.at
  %table = inttoptr i64 %table.word to ptr
  %count.at = getelementptr i64, ptr %state, i64 {count}
  %count = load i64, ptr %count.at
  %times.at = getelementptr i64, ptr %state, i64 {times}
  %times = load i64, ptr %times.at
  %progress.at = getelementptr i64, ptr %state, i64 {progress}
  %progress.word = load i64, ptr %progress.at
  %progress = inttoptr i64 %progress.word to ptr
  %threads.at = getelementptr i64, ptr %state, i64 {threads}
  %nth = load i64, ptr %threads.at
  %base.at = getelementptr i64, ptr %state, i64 {base}
  %base = load i64, ptr %base.at
  %go.at = getelementptr i64, ptr %state, i64 {go}
  %status.at = getelementptr i64, ptr %state, i64 {status}
  %first = icmp eq i64 %ith, 0
  %met = alloca i64
  store i64 %base, ptr %met
  br label %again
again:
  %t = phi i64 [ 0, %entry ], [ %t.next, %end.meet ]
  br i1 %first, label %decide, label %decided
decide:
  %more = icmp slt i64 %t, %times
  %stop = getelementptr i64, ptr %progress, i64 1
  %flag = load atomic i64, ptr %stop monotonic, align 8
  %wanted = icmp eq i64 %flag, 0
  %failed = load atomic i64, ptr %status.at monotonic, align 8
  %sound = icmp eq i64 %failed, 0
  %a = and i1 %more, %wanted
  %b = and i1 %a, %sound
  %go = zext i1 %b to i64
  store i64 %go, ptr %go.at
  br label %decided
decided:
  %m0 = load i64, ptr %met
  %m1 = add i64 %m0, %nth
  store i64 %m1, ptr %met
  call void @meet(ptr %state, i64 %m1)
  %going = load i64, ptr %go.at
  %on = icmp ne i64 %going, 0
  br i1 %on, label %head, label %leave
head:
  %i = phi i64 [ 0, %decided ], [ %i.next, %next ]
  %left = icmp slt i64 %i, %count
  br i1 %left, label %body, label %done
body:
  %at = mul i64 %i, 3
  %f.at = getelementptr i64, ptr %table, i64 %at
  %f.word = load i64, ptr %f.at, align 8
  %f = inttoptr i64 %f.word to ptr
  %r.index = add i64 %at, 1
  %r.at = getelementptr i64, ptr %table, i64 %r.index
  %r.word = load i64, ptr %r.at, align 8
  %r = inttoptr i64 %r.word to ptr
  %k.index = add i64 %at, 2
  %k.at = getelementptr i64, ptr %table, i64 %k.index
  %flags = load i64, ptr %k.at, align 8
  %meeting = and i64 %flags, 2
  %meets = icmp ne i64 %meeting, 0
  br i1 %meets, label %together, label %ready
together:
  %m2 = load i64, ptr %met
  %m3 = add i64 %m2, %nth
  store i64 %m3, ptr %met
  call void @meet(ptr %state, i64 %m3)
  br label %ready
ready:
  %alone = and i64 %flags, 1
  %serial = icmp ne i64 %alone, 0
  br i1 %serial, label %one, label %all
one:
  br i1 %first, label %run.one, label %next
run.one:
  %s1 = call i64 %f(ptr %r, i64 0, i64 1)
  br label %ran
all:
  %s2 = call i64 %f(ptr %r, i64 %ith, i64 %nth)
  br label %ran
ran:
  %s = phi i64 [ %s1, %run.one ], [ %s2, %all ]
  %bad = icmp ne i64 %s, 0
  br i1 %bad, label %fail, label %next
fail:
  %pair = cmpxchg ptr %status.at, i64 0, i64 %s acq_rel monotonic
  %won = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %won, label %note, label %next
note:
  %where = getelementptr i64, ptr %progress, i64 2
  store i64 %i, ptr %where, align 8
  br label %next
next:
  %i.next = add i64 %i, 1
  br label %head
done:
  %t.next = add i64 %t, 1
  br i1 %first, label %count.one, label %end.meet
count.one:
  store atomic i64 %t.next, ptr %progress monotonic, align 8
  br label %end.meet
end.meet:
  %m4 = load i64, ptr %met
  %m5 = add i64 %m4, %nth
  store i64 %m5, ptr %met
  call void @meet(ptr %state, i64 %m5)
  br label %again
leave:
  %m6 = load i64, ptr %met
  %m7 = add i64 %m6, %nth
  call void @meet(ptr %state, i64 %m7)
  ret void
}}

; what a worker does for the rest of its life
define internal void @serve(ptr %state, i64 %ith) noinline {{
entry:
  %end.at = getelementptr i64, ptr %state, i64 {end}
  %threads.at = getelementptr i64, ptr %state, i64 {threads}
  %sleepers.at = getelementptr i64, ptr %state, i64 {sleepers}
  %gen0 = getelementptr i64, ptr %end.at, i64 %ith
  %known = load i64, ptr %gen0
  br label %idle
idle:
  %seen = phi i64 [ %known, %entry ], [ %gen, %served ]
  br label %look
look:
  %spins = phi i64 [ 0, %idle ], [ %spins.next, %spin ], [ 0, %awake ]
  %gen = load atomic i64, ptr %state acquire, align 8
  %new = icmp ne i64 %gen, %seen
  br i1 %new, label %called, label %wait
wait:
  %spins.next = add i64 %spins, 1
  %patient = icmp slt i64 %spins.next, {idle}
  br i1 %patient, label %spin, label %sleep
spin:
  call void @relax()
  br label %look
sleep:
  %s0 = atomicrmw add ptr %sleepers.at, i64 1 seq_cst
  {sleep}
  %s1 = atomicrmw sub ptr %sleepers.at, i64 1 seq_cst
  br label %awake
awake:
  br label %look
called:
  %nth = load i64, ptr %threads.at
  %over = icmp eq i64 %nth, 0
  br i1 %over, label %leave, label %mine
mine:
  %in = icmp slt i64 %ith, %nth
  br i1 %in, label %work, label %served
work:
  call void @walk(ptr %state, i64 %ith)
  br label %served
served:
  br label %idle
leave:
  ret void
}}

; ith 0: the caller of a job, which returns when all have done it; else a worker, which returns when nth is 0
define i64 @{name}(ptr %state, i64 %ith) nounwind {{
entry:
  %caller = icmp eq i64 %ith, 0
  br i1 %caller, label %lead, label %follow
follow:
  call void @serve(ptr %state, i64 %ith)
  ret i64 0
lead:
  %sleepers.at = getelementptr i64, ptr %state, i64 {sleepers}
  %old = atomicrmw add ptr %state, i64 1 seq_cst
  %asleep = load atomic i64, ptr %sleepers.at seq_cst, align 8
  %any = icmp ne i64 %asleep, 0
  br i1 %any, label %wake, label %walk
wake:
  {wake}
  br label %walk
walk:
  %threads.at = getelementptr i64, ptr %state, i64 {threads}
  %nth = load i64, ptr %threads.at
  %over = icmp eq i64 %nth, 0
  br i1 %over, label %leave, label %run
run:
  call void @walk(ptr %state, i64 0)
  br label %leave
leave:
  %status.at = getelementptr i64, ptr %state, i64 {status}
  %status = load atomic i64, ptr %status.at acquire, align 8
  ret i64 %status
}}
"""

SPINS = 300
"""Looks at a counter before a thread that waits for others lets them have the processor; 5 to 15 microseconds."""

IDLE = 2_000
"""Looks before a thread without a program goes to sleep; 30 to 100 microseconds, for waking it takes about as long."""


def _system() -> dict[str, str]:
    """How threads pause and sleep here, as IR."""
    machine = platform.machine().lower()
    x86 = machine in ("x86_64", "amd64")
    arm = "arm" in machine or machine == "aarch64"
    pause = "call void @llvm.x86.sse2.pause()" if x86 else 'call void asm sideeffect "yield", ""()' if arm else ""
    declare = ["declare void @llvm.x86.sse2.pause()"] if x86 else []
    number = {"x86_64": 202, "amd64": 202, "aarch64": 98}.get(machine)
    if sys.platform == "linux" and number is not None:  # futex: wait while the generation is the one that was seen
        declare.append("declare i64 @syscall(i64, ...)")
        sleep = (
            "%low = trunc i64 %seen to i32\n"
            f"  %f1 = call i64 (i64, ...) @syscall(i64 {number}, ptr %state, i64 128, i32 %low, ptr null, ptr null, i64 0)"
        )
        wake = f"%f2 = call i64 (i64, ...) @syscall(i64 {number}, ptr %state, i64 129, i32 2147483647, ptr null, ptr null, i64 0)"
    else:
        declare.append("declare i32 @usleep(i32)")
        sleep, wake = "%f1 = call i32 @usleep(i32 50)", ""
    return {"pause": pause, "declare_sleep": "\n".join(declare), "sleep": sleep, "wake": wake}


@functools.cache
def loop() -> Callable[[int, int, int, int], int]:
    """``loop(table, count, times, progress)``: runs a table of ``count`` instructions ``times`` times on this thread; a status.

    ``progress`` is the address of PROGRESS_WORDS 64-bit words.
    """
    name = toolchain.symbol_name("run", fingerprint.environment(), _ALONE)
    address = library.obtain(name, lambda: ([_ALONE.format(name=name)], name))
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    return prototype(address)


@functools.cache
def _crew() -> Callable[[int, int], int]:
    words = {
        "arrived": _ARRIVED, "table": _TABLE, "count": _COUNT, "times": _TIMES, "progress": _PROGRESS, "threads": _THREADS,
        "base": _BASE,
        "go": _GO, "status": _STATUS, "sleepers": _SLEEPERS, "end": _END, "spins": SPINS, "idle": IDLE, **_system(),
    }  # fmt: skip
    name = toolchain.symbol_name("crew", fingerprint.environment(), _TOGETHER, repr(words))
    address = library.obtain(name, lambda: ([_TOGETHER.format(name=name, **words)], name))
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(address)


class Crew:
    """The worker threads of this process: one program at a time; who finds them busy works alone, with the same bits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        raw = np.zeros(_END + 1024 + 8, np.int64)
        start = (-raw.ctypes.data % 64) // 8
        self._state = raw[start:]
        self._address = self._state.ctypes.data
        self._words = self._state.data  # a NumPy element costs more than a barrier

    def run(self, table: int, count: int, times: int, progress: int, threads: int) -> int:
        """As :func:`loop`, on ``threads`` threads if they are free."""
        if threads < 2 or not self._lock.acquire(blocking=False):
            return loop()(table, count, times, progress)
        try:
            self._hire(threads - 1)
            words = self._words
            words[_TABLE], words[_COUNT], words[_TIMES], words[_PROGRESS] = table, count, times, progress
            words[_THREADS], words[_BASE], words[_STATUS] = threads, words[_ARRIVED], 0
            return _crew()(self._address, 0)
        finally:
            self._lock.release()

    def _hire(self, workers: int) -> None:
        while len(self._workers) < workers:
            number = len(self._workers) + 1
            self._state[_END + number] = self._state[_GENERATION]
            crew = _crew()
            worker = threading.Thread(target=crew, args=(self._address, number), name=f"graphexec-{number}", daemon=True)
            worker.start()
            self._workers.append(worker)

    def dismiss(self) -> None:
        """Ends the workers."""
        with self._lock:
            if self._workers:
                self._state[_THREADS] = 0
                _crew()(self._address, 0)
                for worker in self._workers:
                    worker.join(timeout=1.0)
                self._workers.clear()


_crews: dict[int, Crew] = {}


def crew() -> Crew:
    """The crew of this process; a forked child has none of its parent's threads and gets its own."""
    pid = os.getpid()
    if pid not in _crews:
        _crews.clear()
        _crews[pid] = Crew()
        atexit.register(_crews[pid].dismiss)
    return _crews[pid]


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
