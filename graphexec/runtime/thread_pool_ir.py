"""IR of the thread pool: how the caller starts a job, and how the workers wait, sleep and run it.

The caller takes the lock, writes the job, and publishes a new generation whose low 16 bits are the number of threads: a worker
that sees a generation also sees whether it takes part. The caller waits for every thread that takes part at the end of the
table; the others read nothing but the generation.
"""

from __future__ import annotations

import platform
import sys

from graphexec.abi import PoolWord
from graphexec.runtime.table_walk_ir import WALK, WALK_FIELDS

MAX_IDLE_SPINS = 2_000
"""Checks before a worker without a job goes to sleep; 30 to 100 microseconds, about the time it takes to wake one."""

GENERATION_STEP = 1 << 16
"""The bits of a generation below it hold the number of threads."""

_START = """
; publishes a job for this many threads: a new generation
define internal void @start(ptr %state, i64 %threads) {{
entry:
  %old = load i64, ptr %state
  %count = and i64 %old, {generation_mask}
  %next = add i64 %count, {generation_step}
  %new = or i64 %next, %threads
  store atomic i64 %new, ptr %state seq_cst, align 8
  %sleepers.at = getelementptr i64, ptr %state, i64 {sleepers}
  %asleep = load atomic i64, ptr %sleepers.at seq_cst, align 8
  %any = icmp ne i64 %asleep, 0
  br i1 %any, label %wake, label %leave
wake:
  {wake}
  br label %leave
leave:
  ret void
}}

define internal i1 @take(ptr %state) {{
  %lock = getelementptr i64, ptr %state, i64 {lock}
  %pair = cmpxchg ptr %lock, i64 0, i64 1 acquire monotonic
  %won = extractvalue {{ i64, i1 }} %pair, 1
  ret i1 %won
}}
"""

_LEAD = """
; runs a table on several threads; the caller holds the lock, which is released
define internal i64 @lead(ptr %state, i64 %threads, i64 %table, i64 %count, i64 %times, ptr %progress) {{
entry:
  %table.at = getelementptr i64, ptr %state, i64 {table}
  store i64 %table, ptr %table.at
  %count.at = getelementptr i64, ptr %state, i64 {count}
  store i64 %count, ptr %count.at
  %times.at = getelementptr i64, ptr %state, i64 {times}
  store i64 %times, ptr %times.at
  %progress.at = getelementptr i64, ptr %state, i64 {progress}
  %progress.word = ptrtoint ptr %progress to i64
  store i64 %progress.word, ptr %progress.at
  %arrived = getelementptr i64, ptr %state, i64 {arrived}
  %base = load i64, ptr %arrived
  %base.at = getelementptr i64, ptr %state, i64 {base}
  store i64 %base, ptr %base.at
  %even.index = add i64 {verdict}, 2
  %even.at = getelementptr i64, ptr %state, i64 %even.index
  store i64 0, ptr %even.at
  %odd.at = getelementptr i64, ptr %even.at, i64 1
  store i64 0, ptr %odd.at
  call void @start(ptr %state, i64 %threads)
  call void @walk(ptr %state, i64 0, i64 %threads)
  %even = load i64, ptr %even.at
  %odd = load i64, ptr %odd.at
  %failed = or i64 %even, %odd
  %sound = icmp eq i64 %failed, 0
  %status.at = getelementptr i64, ptr %odd.at, i64 1
  %kept = load i64, ptr %status.at
  %status = select i1 %sound, i64 0, i64 %kept
  %lock = getelementptr i64, ptr %state, i64 {lock}
  store atomic i64 0, ptr %lock release, align 8
  ret i64 %status
}}
"""

_SERVE = """
define internal void @serve(ptr %state, i64 %thread) noinline {{
entry:
  %known.at = getelementptr i64, ptr %state, i64 {known}
  %mine.at = getelementptr i64, ptr %known.at, i64 %thread
  %sleepers.at = getelementptr i64, ptr %state, i64 {sleepers}
  %known = load i64, ptr %mine.at
  br label %idle
idle:
  %seen = phi i64 [ %known, %entry ], [ %gen, %served ]
  br label %look
look:
  %spins = phi i64 [ 0, %idle ], [ %spins.next, %spin ], [ 0, %sleep ]
  %gen = load atomic i64, ptr %state acquire, align 8
  %new = icmp ne i64 %gen, %seen
  br i1 %new, label %job, label %wait
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
  br label %look
job:
  %threads = and i64 %gen, {threads_mask}
  %over = icmp eq i64 %threads, 0
  br i1 %over, label %leave, label %check
check:
  %in = icmp slt i64 %thread, %threads
  br i1 %in, label %work, label %served
work:
  call void @walk(ptr %state, i64 %thread, i64 %threads)
  br label %served
served:
  br label %idle
leave:
  ret void
}}

; thread > 0: the loop of a worker, until the pool is shut down
; thread = 0: shuts the pool down unless a program runs; 1 if it did
define i64 @{name}(ptr %state, i64 %thread) nounwind {{
entry:
  %worker = icmp sgt i64 %thread, 0
  br i1 %worker, label %work, label %shutdown
work:
  call void @serve(ptr %state, i64 %thread)
  ret i64 0
shutdown:
  %free = call i1 @take(ptr %state)
  br i1 %free, label %end, label %busy
end:
  call void @start(ptr %state, i64 0)
  ret i64 1
busy:
  ret i64 0
}}
"""


def _system() -> dict[str, str]:
    """The IR with which threads pause and sleep on this system."""
    machine = platform.machine().lower()
    pause, declare = "", []
    if machine in ("x86_64", "amd64"):
        pause, declare = "call void @llvm.x86.sse2.pause()", ["declare void @llvm.x86.sse2.pause()"]
    elif machine in ("aarch64", "arm64"):
        pause, declare = "call void @llvm.aarch64.hint(i32 1)", ["declare void @llvm.aarch64.hint(i32)"]  # YIELD
    number = {"x86_64": 202, "amd64": 202, "aarch64": 98}.get(machine)
    if sys.platform == "linux" and number is not None:  # futex: sleep while the generation is the last one seen
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


def _filled(text: str, **names: str) -> str:
    words = {word.name.lower(): int(word) for word in PoolWord}
    generation = {
        "generation_step": GENERATION_STEP, "generation_mask": -GENERATION_STEP, "threads_mask": GENERATION_STEP - 1,
        "idle": MAX_IDLE_SPINS,
    }  # fmt: skip
    return text.format(**words, **WALK_FIELDS, **generation, **_system(), **names)


def leading() -> str:
    """IR of ``lead``, ``take`` and the functions that they call: the caller's side."""
    return _filled(WALK + _START + _LEAD)


def serving(name: str) -> str:
    """IR of ``name(state, thread)``: the worker's side."""
    return _filled(WALK + _START + _SERVE, name=name)
