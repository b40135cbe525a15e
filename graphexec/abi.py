"""What generated code and the planner agree on: flags and words of a program's table, of a call and of the thread pool.

A change here changes kernels: the kernel cache's key holds this file.
"""

from __future__ import annotations

from enum import IntEnum

# -- memory

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""

# -- loops

BLOCK = 64
"""Lanes of a reduction: elements that are combined side by side, and cuts between threads are multiples of it."""

CHUNK = 16_384
"""Elements of a full reduction that one partial result stands for; fixed, so that any number of threads gives the same bits."""

SHORT_ROW = 32
"""Elements of a row up to which a reduction along it works on many rows side by side, where the size is declared."""

# -- a row of the table: kernel, arguments, flags

SERIAL, BARRIER, SPLIT = 1, 2, 4
"""Flags: thread 0 alone runs the instruction; all threads wait for one another first; multiplier of the split axis."""

FLAGS = 8
"""Bits for flags; above them stands the number of pieces into which the instruction can be cut."""

ENOUGH = 4
"""Pieces for each thread from which on they are taken one by one: with fewer, the last ones would leave the others waiting."""

STRIPS = 32
"""Where in the number of pieces a kernel is told the axis that it splits, if it has several: two bits of its row's flags."""

# -- the words of a call context


class CallWord(IntEnum):
    """What a program's compiled entry reads and writes while it runs."""

    DONE = 0
    """Runs that are done."""
    STOP = 1
    """A flag that stops the loop before the next run."""
    FAILED = 2
    """The instruction that failed."""
    TABLE = 3
    COUNT = 4
    """The table, and how many instructions it has."""
    POOL = 5
    """The thread pool's state, or 0 for a program that its caller runs alone and that is not timed."""
    THREADS = 6
    CALLS = 7
    RUNS = 8
    """Threads to use; calls and runs left before the tuner is asked again."""
    NANOSECONDS = 9
    """How long the runs took that are over."""


CALL_WORDS = len(CallWord)

ASK = -(2**63)
"""Status: runs are left, and the tuner has to say on how many threads to go on."""


# -- the words of the thread pool

MOST_THREADS, LINE = 1024, 8
"""Threads of a pool at most; words of a cache line."""


class PoolWord(IntEnum):
    """The state of the thread pool. The job lies on one cache line, what follows each on one of its own."""

    GENERATION = 0
    """A counter, and in its low 16 bits the number of threads that take part."""
    TABLE = 1
    COUNT = 2
    TIMES = 3
    PROGRESS = 4
    """The table, its instructions, how often to run it, and where to say how often it has been run."""
    BASE = 5
    """Arrivals at barriers before the job."""
    NUMBER = 6
    """The number of the last instruction whose pieces were taken."""
    ARRIVED = 8
    """Arrivals at barriers."""
    VERDICT = 16
    """Whether to go on, and what failed, for even and odd runs."""
    SLEEPERS = 24
    """Threads that sleep."""
    LOCK = 32
    """1 while a program runs."""
    MEMBERS = 40
    """Threads there are, with the caller."""
    KNOWN = 48
    """For each thread the last generation before it was started."""
    SHARES = KNOWN + MOST_THREADS
    """For each thread, on a cache line of its own, its share of an instruction's pieces: the instruction's number, the first
    piece that is left, and the one after the last."""


POOL_WORDS = PoolWord.SHARES + MOST_THREADS * LINE
