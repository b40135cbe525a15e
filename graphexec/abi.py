"""The constants shared by generated code and lowering: the layout of a program's table, a call context and the pool's state.

A change here changes kernels: the key of the kernel cache covers this file.
"""

from __future__ import annotations

from enum import IntEnum

# -- memory

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""

# -- loops

BLOCK = 64
"""Lanes of a reduction: that many elements are combined side by side; threads divide an axis at multiples of it."""

CHUNK = 16_384
"""Elements per partial result of a full reduction; fixed, so that the bits do not depend on the number of threads."""

MAX_SHORT_ROW = 32
"""Rows of up to this declared size are reduced many at a time, side by side."""

# -- symbols

RARE_PREFIX = "graphexec_shared_"
"""Of the symbols of rare paths of functions, which kernels call and which are compiled once (`vecmath.slow_path`)."""

SHARED_PREFIX = "graphexec_native_"
"""Prefix of the symbol of a function that kernels share: ``graphexec_native_<name>_<dtype>``."""

# -- a row of the table


class Column(IntEnum):
    """The columns of a program's table."""

    KERNEL = 0
    """The address of the kernel."""
    ARGUMENTS = 1
    """The address of its argument block."""
    FLAGS = 2
    """SERIAL and BARRIER, the split axis times SPLIT, and above FLAG_BITS the number of pieces."""


SERIAL, BARRIER, SPLIT = 1, 2, 4
"""Flags: thread 0 alone runs the instruction; all threads wait for one another first; multiplier of the split axis."""

SPLIT_MASK = 3
"""The split axis takes two bits."""

FLAG_BITS = 8
"""Bits for flags; the bits above them hold the number of pieces into which the instruction can be cut."""

DYNAMIC_PIECES_PER_THREAD = 4
"""With at least this many pieces per thread, threads take them one at a time; with fewer, each thread gets an equal share."""

STRIPS = 32
"""The bit of the piece count from which on a kernel is told the split axis, if it can cut several axes."""

# -- the words of a call context


class CallWord(IntEnum):
    """The words that a program's compiled entry reads and writes while it runs."""

    DONE = 0
    """Completed runs."""
    STOP = 1
    """Set to stop before the next run."""
    FAILED = 2
    """The instruction that failed."""
    TABLE = 3
    """The address of the table."""
    COUNT = 4
    """Instructions in the table."""
    POOL = 5
    """The address of the thread pool's state; 0 if the program runs on the caller's thread only and is not timed."""
    THREADS = 6
    """Threads to use."""
    CALLS = 7
    """Calls left before the tuner is asked again."""
    RUNS = 8
    """Runs left before the tuner is asked again."""
    NANOSECONDS = 9
    """Time spent in runs since the tuner was asked."""


CALL_WORDS = len(CallWord)

ASK = -(2**63)
"""Status: runs are left, and the tuner must choose a number of threads first."""

RAISED = -(2**63)
"""Status: a kernel raised an exception; the address of the exception's record is added, which is never 0."""

LEAST_STATUS = -(2**62)
"""A kernel's own statuses are not below: what is below is an exception."""


# -- the words of the thread pool

MAX_THREADS = 1024
"""Threads of a pool."""

WORDS_PER_LINE = 8
"""Words of a cache line."""


class PoolWord(IntEnum):
    """The state of the thread pool. The job takes one cache line, and every word after it has its own."""

    GENERATION = 0
    """A counter; its low 16 bits are the number of threads that take part."""
    TABLE = 1
    """The address of the table."""
    COUNT = 2
    """Instructions in the table."""
    TIMES = 3
    """Runs of the table."""
    PROGRESS = 4
    """The address of the call context."""
    BASE = 5
    """Arrivals at barriers before the job."""
    NUMBER = 6
    """The number of the last instruction whose pieces were taken one at a time."""
    ARRIVED = 8
    """Arrivals at barriers."""
    VERDICT = 16
    """Whether to go on after even and odd runs; the failed instruction of even and odd runs, counted from 1; its status."""
    SLEEPERS = 24
    """Sleeping threads."""
    LOCK = 32
    """1 while a program runs."""
    THREADS = 40
    """Threads in the pool, including the caller's."""
    KNOWN = 48
    """For each thread, the last generation before it started."""
    SHARES = KNOWN + MAX_THREADS
    """For each thread, on its own cache line, its share of an instruction's pieces: the instruction's number, the first
    piece left, and the end of the share."""


POOL_WORDS = PoolWord.SHARES + MAX_THREADS * WORDS_PER_LINE
