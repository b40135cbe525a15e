"""Pieces of an instruction that threads take one at a time: each piece once, in whatever order threads come."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.abi import BARRIER, DYNAMIC_PIECES_PER_THREAD, FLAG_BITS, Column, PoolWord
from graphexec.codegen import linker
from graphexec.llvm import toolchain
from graphexec.lower.kernel_args import MAX_PIECES
from graphexec.runtime.call import CompiledCall
from graphexec.runtime.thread_pool import thread_pool

ops = gx.ops

COUNTING = """
; counts[piece] += 1, done[thread] += 1; the arguments: both addresses, pieces expected, rounds to spin for thread 0,
; a piece that fails, and how many pieces of thread 1 end the spinning
define i64 @{name}(ptr %record, i64 %piece, i64 %pieces, i64 %thread) nounwind {{
entry:
  %counts = load ptr, ptr %record
  %count = getelementptr i64, ptr %counts, i64 %piece
  %c = atomicrmw add ptr %count, i64 1 monotonic
  %done.at = getelementptr i64, ptr %record, i64 1
  %dones = load ptr, ptr %done.at
  %done = getelementptr i64, ptr %dones, i64 %thread
  %d = atomicrmw add ptr %done, i64 1 monotonic
  %expected.at = getelementptr i64, ptr %record, i64 2
  %expected = load i64, ptr %expected.at
  %wrong = icmp ne i64 %expected, %pieces
  %rounds.at = getelementptr i64, ptr %record, i64 3
  %rounds = load i64, ptr %rounds.at
  %awaited.at = getelementptr i64, ptr %record, i64 5
  %awaited = load i64, ptr %awaited.at
  %slow = icmp eq i64 %thread, 0
  %limit = select i1 %slow, i64 %rounds, i64 0
  br label %spin
spin:
  %k = phi i64 [ 0, %entry ], [ %k.next, %again ]
  %more = icmp slt i64 %k, %limit
  br i1 %more, label %again, label %over
again:
  %other.at = getelementptr i64, ptr %dones, i64 1
  %other = load atomic i64, ptr %other.at monotonic, align 8
  %k.next = add i64 %k, 1
  %go = icmp sge i64 %other, %awaited
  br i1 %go, label %over, label %spin
over:
  %failing.at = getelementptr i64, ptr %record, i64 4
  %failing = load i64, ptr %failing.at
  %fails = icmp eq i64 %failing, %piece
  %bad = or i1 %wrong, %fails
  %status = zext i1 %bad to i64
  ret i64 %status
}}
"""


@pytest.fixture(scope="module")
def counting():
    """The address of a kernel that counts its calls."""
    name = toolchain.symbol_name("counting", COUNTING)
    return linker.obtain(name, lambda: ([COUNTING.format(name=name)], name))


class Counted:
    """A table of instructions with so many pieces each, and how often each was done."""

    def __init__(self, kernel, pieces, meets, threads, slow=0, failing=-1, awaited=2**62):
        self.counts = [np.zeros(max(p, threads), np.int64) for p in pieces]
        self.done = np.zeros(threads, np.int64)
        taken = [p >= DYNAMIC_PIECES_PER_THREAD * threads for p in pieces]
        rows = zip(self.counts, pieces, taken, strict=True)
        self.records = np.array(
            [(c.ctypes.data, self.done.ctypes.data, p if t else threads, slow, failing, awaited) for c, p, t in rows], np.int64
        )
        self.table = np.array(
            [
                (kernel, r.ctypes.data, p << FLAG_BITS | (BARRIER if m else 0))
                for r, p, m in zip(self.records, pieces, meets, strict=True)
            ],
            np.int64,
        )
        sizes = [p if t else threads for p, t in zip(pieces, taken, strict=True)]
        self.expected = [np.where(np.arange(len(c)) < n, 1, 0) for c, n in zip(self.counts, sizes, strict=True)]
        self.call = CompiledCall(self.table)
        self.call.use(threads)


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("slow", [0, 2_000], ids=["even", "uneven"])
def test_each_piece_is_done_once(counting, threads, slow):
    draw = np.random.default_rng(threads)
    for _ in range(20):
        pieces = [int(p) for p in draw.choice([1, 7, 8, 15, 20, 33, 100], 12)]
        counted = Counted(counting, pieces, draw.random(12) < 0.3, threads, slow)
        for times in (1, 3, 4):
            before = [c.copy() for c in counted.counts]
            assert counted.call.enter(times) == 0
            for count, old, once in zip(counted.counts, before, counted.expected, strict=True):
                np.testing.assert_array_equal(count - old, times * once)
        assert counted.done.sum() == 8 * sum(int(e.sum()) for e in counted.expected)


def test_a_thread_whose_share_is_done_takes_from_another(counting):
    """The first thread waits, with its first piece, for more pieces of the second than its share is."""
    counted = Counted(counting, [100], [True], 2, slow=2**33, awaited=75)
    assert counted.call.enter(1) == 0
    assert counted.done[1] >= 75
    assert counted.counts[0].tolist() == [1] * 100


def test_programs_take_turns_and_none_misses_a_piece(counting):
    """The number of an instruction goes on from one program to the next."""
    several = [Counted(counting, [40, 8, 64], [True] * 3, 2), Counted(counting, [1, 16], [False] * 2, 2)]
    for _ in range(50):
        for counted in several:
            assert counted.call.enter(1) == 0
    for counted in several:
        for count, once in zip(counted.counts, counted.expected, strict=True):
            np.testing.assert_array_equal(count, 50 * once)


def test_a_piece_that_fails_stops_the_loop_after_the_table(counting):
    counted = Counted(counting, [1, 16, 16], [False] * 3, 2, failing=11)
    assert counted.call.enter(5) == 1
    assert counted.call.progress[2] in (1, 2)
    for count, once in zip(counted.counts, counted.expected, strict=True):
        np.testing.assert_array_equal(count, once)
    assert thread_pool().words[PoolWord.LOCK] == 0


def shared(name):
    """Graphs whose one large instruction is cut into pieces: closed by a sum, rows with room of their own, sums, batches."""
    g = gx.Graph(name)
    if name == "closed":
        v = g.input("v", (500_000,))
        return g, ops.sum(ops.sin(v) * ops.sigmoid(v)), v
    v = g.input("v", (1_000, 2_000))
    made = {
        "elementwise": lambda: ops.tanh(ops.exp(v)),
        "rows": lambda: ops.softmax(ops.tanh(v) * v, axis=-1),
        "across": lambda: ops.softmax(ops.tanh(v) * v, axis=0),
        "sum": lambda: ops.sum(v.reshape(40, 25, 2_000), axis=1),
        "along": lambda: ops.sum(v, axis=1),
        "products": lambda: v.reshape(1_000, 40, 50) @ v.reshape(1_000, 50, 40),
        "rows of a product": lambda: ops.tanh(v.reshape(40_000, 50) @ v[:2].reshape(50, 80)),
        "columns of a product": lambda: ops.tanh(v[:90] @ v.reshape(2_000, 1_000)),
        "a turned product": lambda: ops.swap_axes(v.reshape(50, 40_000)) @ v[:2].reshape(50, 80),
        "planes": lambda: ops.max_pool(v.reshape(40, 10, 50, 100), kernel=3),
    }
    return g, made[name](), v


@pytest.mark.parametrize(
    "name",
    [
        "closed", "elementwise", "rows", "across", "sum", "along", "products", "rows of a product", "columns of a product",
        "a turned product", "planes",
    ],
)  # fmt: skip
def test_bits_are_those_of_one_thread(name):
    g, result, v = shared(name)
    g.output(result)
    x = np.random.default_rng(0).normal(size=v.shape).astype(np.float32)
    expected = next(iter(gx.compile(g, threads=1)(v=x).values()))
    for threads in (2, 3):
        exe = gx.compile(g, threads=threads)
        exe(v=x)
        pieces = [int(flags) >> FLAG_BITS for flags in exe.program.table[:, Column.FLAGS]]
        assert DYNAMIC_PIECES_PER_THREAD * threads <= max(pieces) <= MAX_PIECES
        exe.compiled.last.fix(threads)
        for _ in range(5):
            np.testing.assert_array_equal(next(iter(exe(v=x).values())), expected)
