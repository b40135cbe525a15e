"""The native half of a crew: how its members walk a table together, wait for one another, and sleep between programs.

All of it works on one array of words, the crew's *state*. A program starts when its caller, who holds the lock, writes the
job and then a new generation, whose low 16 bits say how many members take part: who sees a generation sees with it
whether it is meant. A member that takes part is waited for at the end of the table; one that does not reads nothing else.
"""

from __future__ import annotations

import platform
import sys

from graphexec.abi import DYNAMIC_PIECES_PER_THREAD, FLAG_BITS, STRIPS, WORDS_PER_LINE, PoolWord

SPINS = 300
"""Looks at a counter before a thread that waits for others lets them have the processor; 5 to 15 microseconds."""

PIECE = 12
"""Bits for a piece, of which a share has two; above them stands the instruction's number, which grows as long as the process
lives."""

IDLE = 2_000
"""Looks before a thread without a program goes to sleep; 30 to 100 microseconds, for waking it takes about as long."""

_MEETING = """
declare i32 @sched_yield()
{declare_sleep}

define internal void @relax() alwaysinline {{
  {pause}
  ret void
}}

; all members arrive: the last one lets the others go
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
"""

# A member takes the pieces of its own share in their order, so that it finds in its cache what it did there the last time, and
# then the last ones of other shares, so that a fast one helps a slow one. Members come to an instruction at different times.
# Who finds a later number was late: all pieces have been taken, for else nobody would have gone on. Who finds an earlier one is
# the first to look at that share, and all of it is left.
_TAKING = """
; the next piece of an instruction, by its number; -1 if none is left
define internal i64 @next_piece(ptr %state, i64 %number, i64 %pieces, i64 %ith, i64 %nth) {{
entry:
  %shares = getelementptr i64, ptr %state, i64 {shares}
  %tag = shl i64 %number, {bits2}
  br label %member
member:
  %k = phi i64 [ 0, %entry ], [ %k.next, %empty ]
  %some = icmp slt i64 %k, %nth
  br i1 %some, label %open, label %none
open:
  %own = icmp eq i64 %k, 0
  %sum = add i64 %ith, %k
  %beyond = icmp sge i64 %sum, %nth
  %around = sub i64 %sum, %nth
  %j = select i1 %beyond, i64 %around, i64 %sum
  %at = mul i64 %j, {line}
  %share = getelementptr i64, ptr %shares, i64 %at
  %low.all = mul i64 %pieces, %j
  %low = udiv i64 %low.all, %nth
  %high.all = add i64 %low.all, %pieces
  %high = udiv i64 %high.all, %nth
  %low.bits = shl i64 %low, {bits}
  %span = or i64 %low.bits, %high
  %begin = or i64 %tag, %span
  br label %look
look:
  %now = load atomic i64, ptr %share monotonic, align 8
  %whose = lshr i64 %now, {bits2}
  %over = icmp ugt i64 %whose, %number
  br i1 %over, label %none, label %there
there:
  %mine = icmp eq i64 %whose, %number
  %from = select i1 %mine, i64 %now, i64 %begin
  %above = lshr i64 %from, {bits}
  %first = and i64 %above, {mask}
  %end = and i64 %from, {mask}
  %left = icmp ult i64 %first, %end
  br i1 %left, label %try, label %empty
try:
  %step = select i1 %own, i64 {one}, i64 -1
  %next = add i64 %from, %step
  %pair = cmpxchg ptr %share, i64 %now, i64 %next monotonic monotonic
  %won = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %won, label %got, label %look
got:
  %last = sub i64 %end, 1
  %piece = select i1 %own, i64 %first, i64 %last
  ret i64 %piece
empty:
  %k.next = add i64 %k, 1
  br label %member
none:
  ret i64 -1
}}
"""

# The verdict on time t is read after the meeting that ends it and written again at time t + 2, which cannot begin before all
# have read it. At the last time nobody reads it, so that nothing keeps the caller from starting the next program at once.
_WALK = """
define internal void @walk(ptr %state, i64 %ith, i64 %nth) {{
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
  %base.at = getelementptr i64, ptr %state, i64 {base}
  %base = load i64, ptr %base.at
  %verdicts = getelementptr i64, ptr %state, i64 {verdict}
  %number.at = getelementptr i64, ptr %state, i64 {number}
  %number.first = load i64, ptr %number.at
  %enough = mul i64 %nth, {enough}
  %first = icmp eq i64 %ith, 0
  br label %again
again:
  %t = phi i64 [ 0, %entry ], [ %t.next, %judge ]
  %met.start = phi i64 [ %base, %entry ], [ %met.end, %judge ]
  %number.start = phi i64 [ %number.first, %entry ], [ %number, %judge ]
  %odd = and i64 %t, 1
  %go.at = getelementptr i64, ptr %verdicts, i64 %odd
  %failed.index = add i64 %odd, 2
  %failed.at = getelementptr i64, ptr %verdicts, i64 %failed.index
  br label %head
head:
  %i = phi i64 [ 0, %again ], [ %i.next, %next ]
  %met = phi i64 [ %met.start, %again ], [ %met.now, %next ]
  %number = phi i64 [ %number.start, %again ], [ %number.now, %next ]
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
  %met.more = add i64 %met, %nth
  call void @meet(ptr %state, i64 %met.more)
  br label %ready
ready:
  %met.now = phi i64 [ %met, %body ], [ %met.more, %together ]
  %alone = and i64 %flags, 1
  %serial = icmp ne i64 %alone, 0
  br i1 %serial, label %one, label %all
one:
  br i1 %first, label %run.one, label %next
run.one:
  %s1 = call i64 %f(ptr %r, i64 0, i64 1, i64 0)
  br label %ran
all:
  %pieces = lshr i64 %flags, {flags}
  %many = icmp sge i64 %pieces, %enough
  br i1 %many, label %taking, label %given
given:
  %s2 = call i64 %f(ptr %r, i64 %ith, i64 %nth, i64 %ith)
  br label %ran
taking:
  %number.next = add i64 %number, 1
  %kind.all = lshr i64 %flags, 2
  %kind = and i64 %kind.all, 3
  %kind.bits = shl i64 %kind, {strips}
  %told = add i64 %pieces, %kind.bits
  br label %take
take:
  %s3 = phi i64 [ 0, %taking ], [ %s3.now, %done.piece ]
  %piece = call i64 @next_piece(ptr %state, i64 %number.next, i64 %pieces, i64 %ith, i64 %nth)
  %got = icmp sge i64 %piece, 0
  br i1 %got, label %do.piece, label %ran
do.piece:
  %s4 = call i64 %f(ptr %r, i64 %piece, i64 %told, i64 %ith)
  %sound.yet = icmp eq i64 %s3, 0
  br label %done.piece
done.piece:
  %s3.now = select i1 %sound.yet, i64 %s4, i64 %s3
  br label %take
ran:
  %s = phi i64 [ %s1, %run.one ], [ %s2, %given ], [ %s3, %take ]
  %number.ran = phi i64 [ %number, %run.one ], [ %number, %given ], [ %number.next, %take ]
  %bad = icmp ne i64 %s, 0
  br i1 %bad, label %fail, label %next
fail:
  %pair = cmpxchg ptr %failed.at, i64 0, i64 %s acq_rel monotonic
  %won = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %won, label %note, label %next
note:
  %where = getelementptr i64, ptr %progress, i64 2
  store i64 %i, ptr %where, align 8
  br label %next
next:
  %number.now = phi i64 [ %number, %one ], [ %number.ran, %ran ], [ %number.ran, %fail ], [ %number.ran, %note ]
  %i.next = add i64 %i, 1
  br label %head
done:
  %t.next = add i64 %t, 1
  br i1 %first, label %decide, label %end
decide:
  store atomic i64 %t.next, ptr %progress monotonic, align 8
  %stop = getelementptr i64, ptr %progress, i64 1
  %flag = load atomic i64, ptr %stop monotonic, align 8
  %wanted = icmp eq i64 %flag, 0
  %go = zext i1 %wanted to i64
  store i64 %go, ptr %go.at
  br label %end
end:
  %met.end = add i64 %met, %nth
  call void @meet(ptr %state, i64 %met.end)
  %more = icmp slt i64 %t.next, %times
  br i1 %more, label %judge, label %last
judge:
  %going = load i64, ptr %go.at
  %failed = load i64, ptr %failed.at
  %goes = icmp ne i64 %going, 0
  %sound = icmp eq i64 %failed, 0
  %on = and i1 %goes, %sound
  br i1 %on, label %again, label %halt
halt:
  %met.halt = add i64 %met.end, %nth
  call void @meet(ptr %state, i64 %met.halt)
  br label %last
last:
  br i1 %first, label %note.number, label %leave
note.number:
  store i64 %number, ptr %number.at
  br label %leave
leave:
  ret void
}}
"""

_START = """
; a new generation, for so many members
define internal void @start(ptr %state, i64 %nth) {{
entry:
  %old = load i64, ptr %state
  %count = and i64 %old, -65536
  %next = add i64 %count, 65536
  %new = or i64 %next, %nth
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
; runs a table on nth members; the lock is held, and given back
define internal i64 @lead(ptr %state, i64 %nth, i64 %table, i64 %count, i64 %times, ptr %progress) {{
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
  call void @start(ptr %state, i64 %nth)
  call void @walk(ptr %state, i64 0, i64 %nth)
  %even = load i64, ptr %even.at
  %odd = load i64, ptr %odd.at
  %status = or i64 %even, %odd
  %lock = getelementptr i64, ptr %state, i64 {lock}
  store atomic i64 0, ptr %lock release, align 8
  ret i64 %status
}}
"""

_SERVE = """
define internal void @serve(ptr %state, i64 %ith) noinline {{
entry:
  %known.at = getelementptr i64, ptr %state, i64 {known}
  %mine.at = getelementptr i64, ptr %known.at, i64 %ith
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
  br label %look
called:
  %nth = and i64 %gen, 65535
  %over = icmp eq i64 %nth, 0
  br i1 %over, label %leave, label %asked
asked:
  %in = icmp slt i64 %ith, %nth
  br i1 %in, label %work, label %served
work:
  call void @walk(ptr %state, i64 %ith, i64 %nth)
  br label %served
served:
  br label %idle
leave:
  ret void
}}

; ith > 0: what a member does until the crew is dismissed; ith = 0 dismisses it, unless a program runs: whether it did
define i64 @{name}(ptr %state, i64 %ith) nounwind {{
entry:
  %member = icmp sgt i64 %ith, 0
  br i1 %member, label %follow, label %dismiss
follow:
  call void @serve(ptr %state, i64 %ith)
  ret i64 0
dismiss:
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
    """How threads pause and sleep here, as IR."""
    machine = platform.machine().lower()
    pause, declare = "", []
    if machine in ("x86_64", "amd64"):
        pause, declare = "call void @llvm.x86.sse2.pause()", ["declare void @llvm.x86.sse2.pause()"]
    elif machine in ("aarch64", "arm64"):
        pause, declare = "call void @llvm.aarch64.hint(i32 1)", ["declare void @llvm.aarch64.hint(i32)"]  # YIELD
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


def _filled(text: str, **names: str) -> str:
    words = {word.name.lower(): int(word) for word in PoolWord} | {
        "spins": SPINS, "idle": IDLE, "line": WORDS_PER_LINE, "bits": PIECE, "bits2": 2 * PIECE, "one": 1 << PIECE,
        "mask": (1 << PIECE) - 1, "enough": DYNAMIC_PIECES_PER_THREAD, "flags": FLAG_BITS, "strips": STRIPS,
    }  # fmt: skip
    return text.format(**words, **_system(), **names)


def leading() -> str:
    """IR of ``lead``, ``take`` and what they call: the side of who has a program to run."""
    return _filled(_MEETING + _TAKING + _WALK + _START + _LEAD)


def serving(name: str) -> str:
    """IR of ``name(state, ith)``: the side of those who are called."""
    return _filled(_MEETING + _TAKING + _WALK + _START + _SERVE, name=name)
