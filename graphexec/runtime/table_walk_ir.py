"""IR of a thread's way through a table: barriers, and pieces of instructions that threads take from one another.

All functions work on one array of words, the pool's *state* (`graphexec.abi.PoolWord`).
"""

from __future__ import annotations

from graphexec.abi import (
    BARRIER,
    DYNAMIC_PIECES_PER_THREAD,
    FLAG_BITS,
    SERIAL,
    SPLIT,
    SPLIT_MASK,
    STRIPS,
    WORDS_PER_LINE,
    Column,
)  # fmt: skip

MAX_SPINS = 300
"""Checks of a counter before a waiting thread yields the processor; 5 to 15 microseconds."""

PIECE_BITS = 12
"""Bits of a piece's number. A share is two of them; the bits above hold the instruction's number, which grows as long as the
process lives."""

_BARRIER = """
declare i32 @sched_yield()
{declare_sleep}

define internal void @relax() alwaysinline {{
  {pause}
  ret void
}}

; returns when the arrivals of all threads have reached the target
define internal void @barrier(ptr %state, i64 %target) {{
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

# A thread takes the pieces of its own share in order, so that it finds in its cache what it used there the last time. Then it
# steals from the end of other shares, so that a fast thread helps a slow one. Threads reach an instruction at different times.
# A thread that finds a later number in a share is late: all pieces have been taken, for otherwise no thread would have gone on.
# A thread that finds an earlier number is the first to look at that share, and all of it is left.
_STEALING = """
; the next piece of the instruction with this number, or -1 if none is left
define internal i64 @next_piece(ptr %state, i64 %number, i64 %pieces, i64 %thread, i64 %threads) {{
entry:
  %shares = getelementptr i64, ptr %state, i64 {shares}
  %tag = shl i64 %number, {share_bits}
  br label %victim
victim:
  %k = phi i64 [ 0, %entry ], [ %k.next, %empty ]
  %some = icmp slt i64 %k, %threads
  br i1 %some, label %open, label %none
open:
  %own = icmp eq i64 %k, 0
  %sum = add i64 %thread, %k
  %beyond = icmp sge i64 %sum, %threads
  %around = sub i64 %sum, %threads
  %j = select i1 %beyond, i64 %around, i64 %sum
  %at = mul i64 %j, {line}
  %share = getelementptr i64, ptr %shares, i64 %at
  %low.all = mul i64 %pieces, %j
  %low = udiv i64 %low.all, %threads
  %high.all = add i64 %low.all, %pieces
  %high = udiv i64 %high.all, %threads
  %low.bits = shl i64 %low, {piece_bits}
  %span = or i64 %low.bits, %high
  %begin = or i64 %tag, %span
  br label %look
look:
  %now = load atomic i64, ptr %share monotonic, align 8
  %tagged = lshr i64 %now, {share_bits}
  %over = icmp ugt i64 %tagged, %number
  br i1 %over, label %none, label %there
there:
  %mine = icmp eq i64 %tagged, %number
  %from = select i1 %mine, i64 %now, i64 %begin
  %above = lshr i64 %from, {piece_bits}
  %first = and i64 %above, {piece_mask}
  %end = and i64 %from, {piece_mask}
  %left = icmp ult i64 %first, %end
  br i1 %left, label %try, label %empty
try:
  %step = select i1 %own, i64 {next_first}, i64 -1
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
  br label %victim
none:
  ret i64 -1
}}
"""

# The verdict on run t is read after the barrier that ends it, and written again in run t + 2, which cannot begin before all
# threads have read it. Only the caller reads it after the last run, so that it can start the next program at once.
#
# A thread whose kernel fails runs nothing more until the next barrier, where all threads see the failure and stop: nobody uses what
# the kernel has not computed. The verdict holds the number of the failed instruction, counted from 1. A thread that is late at a
# barrier may find there the failure of one that has gone on, so only an instruction before the barrier counts.
_WALK = """
; a thread's part of all runs of the table
define internal void @walk(ptr %state, i64 %thread, i64 %threads) {{
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
  %dynamic = mul i64 %threads, {dynamic}
  %first = icmp eq i64 %thread, 0
  br label %again
again:
  %t = phi i64 [ 0, %entry ], [ %t.next, %judge ]
  %target.start = phi i64 [ %base, %entry ], [ %target.end, %judge ]
  %number.start = phi i64 [ %number.first, %entry ], [ %number, %judge ]
  %odd = and i64 %t, 1
  %go.at = getelementptr i64, ptr %verdicts, i64 %odd
  %failed.index = add i64 %odd, 2
  %failed.at = getelementptr i64, ptr %verdicts, i64 %failed.index
  br label %head
head:
  %i = phi i64 [ 0, %again ], [ %i.next, %next ]
  %target = phi i64 [ %target.start, %again ], [ %target.now, %next ]
  %number = phi i64 [ %number.start, %again ], [ %number.now, %next ]
  %sick = phi i1 [ false, %again ], [ %sick.now, %next ]
  %left = icmp slt i64 %i, %count
  br i1 %left, label %body, label %done
body:
  %at = mul i64 %i, {columns}
  %f.index = add i64 %at, {kernel_column}
  %f.at = getelementptr i64, ptr %table, i64 %f.index
  %f.word = load i64, ptr %f.at, align 8
  %kernel = inttoptr i64 %f.word to ptr
  %a.index = add i64 %at, {arguments_column}
  %a.at = getelementptr i64, ptr %table, i64 %a.index
  %a.word = load i64, ptr %a.at, align 8
  %arguments = inttoptr i64 %a.word to ptr
  %flags.index = add i64 %at, {flags_column}
  %flags.at = getelementptr i64, ptr %table, i64 %flags.index
  %flags = load i64, ptr %flags.at, align 8
  %barrier = and i64 %flags, {barrier}
  %waits = icmp ne i64 %barrier, 0
  br i1 %waits, label %wait, label %ready
wait:
  %target.next = add i64 %target, %threads
  call void @barrier(ptr %state, i64 %target.next)
  %claim = load atomic i64, ptr %failed.at monotonic, align 8
  %any = icmp ne i64 %claim, 0
  %before = icmp sle i64 %claim, %i
  %over = and i1 %any, %before
  br i1 %over, label %early, label %ready
ready:
  %target.now = phi i64 [ %target, %body ], [ %target.next, %wait ]
  %alone = and i64 %flags, {serial}
  %serial = icmp ne i64 %alone, 0
  br i1 %serial, label %one, label %all
one:
  %well = xor i1 %sick, true
  %mine = and i1 %first, %well
  br i1 %mine, label %run.one, label %next
run.one:
  %s1 = call i64 %kernel(ptr %arguments, i64 0, i64 1, i64 0)
  br label %ran
all:
  %pieces = lshr i64 %flags, {flag_bits}
  %many = icmp sge i64 %pieces, %dynamic
  br i1 %many, label %taking, label %given
given:
  br i1 %sick, label %next, label %own
own:
  %s2 = call i64 %kernel(ptr %arguments, i64 %thread, i64 %threads, i64 %thread)
  br label %ran
taking:
  %number.next = add i64 %number, 1
  %split.all = lshr i64 %flags, {split_bits}
  %split = and i64 %split.all, {split_mask}
  %split.high = shl i64 %split, {strips}
  %cut = add i64 %pieces, %split.high
  br i1 %sick, label %ran, label %take
take:
  %s3 = phi i64 [ 0, %taking ], [ %s3.now, %done.piece ]
  %piece = call i64 @next_piece(ptr %state, i64 %number.next, i64 %pieces, i64 %thread, i64 %threads)
  %got = icmp sge i64 %piece, 0
  br i1 %got, label %do.piece, label %ran
do.piece:
  %s4 = call i64 %kernel(ptr %arguments, i64 %piece, i64 %cut, i64 %thread)
  %sound.yet = icmp eq i64 %s3, 0
  br label %done.piece
done.piece:
  %s3.now = select i1 %sound.yet, i64 %s4, i64 %s3
  br label %take
ran:
  %s = phi i64 [ %s1, %run.one ], [ %s2, %own ], [ %s3, %take ], [ 0, %taking ]
  %number.ran = phi i64 [ %number, %run.one ], [ %number, %own ], [ %number.next, %take ], [ %number.next, %taking ]
  %bad = icmp ne i64 %s, 0
  br i1 %bad, label %fail, label %next
fail:
  %claim.mine = add i64 %i, 1
  %pair = cmpxchg ptr %failed.at, i64 0, i64 %claim.mine acq_rel monotonic
  %won = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %won, label %note, label %next
note:
  %where = getelementptr i64, ptr %progress, i64 2
  store i64 %i, ptr %where, align 8
  %status.at = getelementptr i64, ptr %verdicts, i64 4
  store i64 %s, ptr %status.at, align 8
  br label %next
next:
  %number.now = phi i64 [ %number, %one ], [ %number, %given ], [ %number.ran, %ran ], [ %number.ran, %fail ],
    [ %number.ran, %note ]
  %sick.now = phi i1 [ %sick, %one ], [ %sick, %given ], [ %sick, %ran ], [ true, %fail ], [ true, %note ]
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
  %target.end = add i64 %target, %threads
  call void @barrier(ptr %state, i64 %target.end)
  %more = icmp slt i64 %t.next, %times
  br i1 %more, label %judge, label %final
final:
  br i1 %first, label %check, label %last
check:
  %failed.last = load i64, ptr %failed.at
  %sound.last = icmp eq i64 %failed.last, 0
  br i1 %sound.last, label %last, label %uncount
judge:
  %going = load i64, ptr %go.at
  %failed = load i64, ptr %failed.at
  %goes = icmp ne i64 %going, 0
  %sound = icmp eq i64 %failed, 0
  %on = and i1 %goes, %sound
  br i1 %on, label %again, label %halt
halt:
  %target.halt = add i64 %target.end, %threads
  call void @barrier(ptr %state, i64 %target.halt)
  %counts = xor i1 %sound, true
  %corrects = and i1 %first, %counts
  br i1 %corrects, label %uncount, label %last
uncount:
  store atomic i64 %t, ptr %progress monotonic, align 8
  br label %last
early:
  %target.early = add i64 %target.next, %threads
  call void @barrier(ptr %state, i64 %target.early)
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

WALK = _BARRIER + _STEALING + _WALK
"""Text with fields of `WALK_FIELDS`, of the pool's words and of the system's ways to pause."""

WALK_FIELDS = {
    "spins": MAX_SPINS, "line": WORDS_PER_LINE, "piece_bits": PIECE_BITS, "share_bits": 2 * PIECE_BITS,
    "next_first": 1 << PIECE_BITS, "piece_mask": (1 << PIECE_BITS) - 1, "dynamic": DYNAMIC_PIECES_PER_THREAD,
    "serial": SERIAL, "barrier": BARRIER, "split_bits": SPLIT.bit_length() - 1, "split_mask": SPLIT_MASK,
    "flag_bits": FLAG_BITS, "strips": STRIPS, "columns": len(Column), "kernel_column": int(Column.KERNEL),
    "arguments_column": int(Column.ARGUMENTS), "flags_column": int(Column.FLAGS),
}  # fmt: skip
