"""Barriers: where threads wait for one another, and whether the partitions of a spec are true."""

import ctypes

import numpy as np
import pytest
from helpers.graphs import random_dag

import graphexec as gx
from graphexec.abi import BARRIER, DYNAMIC_PIECES_PER_THREAD, FLAG_BITS, SERIAL, Column
from graphexec.ir.spec import itemsize
from graphexec.lower import barriers, kernel_args

ops = gx.ops
KERNEL = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


def recurrent(steps=5, batch=32, hidden=64):
    """A weight used in every step, slices of a projected input, and a softmax over what is left."""
    g = gx.Graph("recurrent")
    w = g.parameter("w", (hidden, hidden), init="normal(std=0.1)")
    v = g.parameter("v", (hidden, hidden), init="normal(std=0.1)")
    x, y = g.input("x", (steps * batch, hidden)), g.input("y", (batch, hidden))
    z = (x @ v).reshape(steps, batch, hidden)
    h = ops.tanh(z[0])
    for t in range(1, steps):
        h = ops.tanh(z[t] + h @ w)
    gates = [ops.sigmoid(h[:, :32]), ops.tanh(h[:, 32:])]
    h = ops.concat(*gates, axis=1) * ops.softmax(h, axis=1)
    g.output(ops.mean((h - y) ** 2, name="loss"))
    return g


def mixture():
    """Batched products, sums along each axis, rows that stand side by side, strided operands."""
    g = gx.Graph("mixture")
    x, w = g.input("x", (6, 40, 24)), g.parameter("w", (6, 24, 40), init="normal(std=0.1)")
    a = x @ w
    b = ops.softmax(ops.swap_axes(a), axis=2) + ops.sum(a, axis=1, keepdims=True)
    c = ops.max(b, axis=2) * ops.sum(ops.swap_axes(a), axis=2)
    d = ops.log_softmax(ops.reshape(b[:, :, :7], shape=(240, 7)), axis=1)
    g.output(ops.add(ops.sum(c * c), ops.sum(d * d), name="loss"))
    return g


def layers_with_softmax():
    """Products and kernels over rows in turn: both work in scratch."""
    g = gx.Graph("layers with softmax")
    w = g.parameter("w", (64, 64), init="normal(std=0.1)")
    h = g.input("x", (48, 64))
    for _ in range(3):
        h = ops.softmax(ops.tanh(h @ w), axis=1) + ops.tanh(h @ ops.swap_axes(w))
    g.output(ops.mean(h**2, name="loss"))
    return g


SHAPES = {"recurrent": {"x": (160, 64), "y": (32, 64)}, "mixture": {"x": (6, 40, 24)}, "layers with softmax": {"x": (48, 64)}}
GRAPHS = {
    "recurrent": recurrent,
    "mixture": mixture,
    "layers with softmax": layers_with_softmax,
    **{f"dag {seed}": lambda seed=seed: random_dag(seed, 40, shape=(24, 40), dtype="float32") for seed in range(2)},
}


def program_of(name, threads, optimize=True):
    rng = np.random.default_rng(0)
    arrays = {n: rng.uniform(-1, 1, shape).astype("float32") for n, shape in SHAPES.get(name, {}).items()}
    exe = gx.compile(GRAPHS[name](), loss="loss", threads=threads, optimize=optimize, seed=1)
    exe.gradients(**arrays)
    return exe.program


@pytest.fixture
def everything_shared(monkeypatch):
    """Every instruction is shared that can be, however small."""
    monkeypatch.setattr(kernel_args, "MIN_SHARED_NANOSECONDS", 0)
    monkeypatch.setattr("graphexec.lower.barriers.BARRIER_NANOSECONDS", 0)


def memory(program, value):
    """The bytes of the buffer that a value lies in."""
    storage = program.layout.storage[value]
    buffer = program.buffers.get(storage)
    if buffer is not None:
        return buffer.reshape(-1).view(np.uint8)
    start = program.memory.offsets[storage]
    return program.arena[start : start + program.layout.bytes[storage]]


def elements(program, value):
    """Where in that buffer the value's bytes are."""
    view, item = program.layout.views[value], itemsize(program.layout.specs[value].dtype)
    mask = np.zeros((memory(program, value).size // item, item), bool)
    strides = [s * item for s in view.strides]
    np.lib.stride_tricks.as_strided(mask[view.offset :, 0], view.shape, strides)[...] = True
    mask[:] = mask[:, :1]
    return mask.reshape(-1)


def parts(program, value, cut, thread, threads):
    """Where in that buffer the bytes are that a cut gives to a thread."""
    view, item = program.layout.views[value], itemsize(program.layout.specs[value].dtype)
    mask = np.zeros(memory(program, value).size, bool)
    for unit in range(cut.units * thread // threads, cut.units * (thread + 1) // threads):
        start = view.offset * item + unit * cut.pitch
        mask[start : start + cut.reach + item] = True
    return mask & elements(program, value)


def touched(program, number):
    """(value, written?, cut) for each operand of an instruction."""
    instruction = program.instructions[number]
    node, made = instruction.node, instruction.spec
    cuts = {}
    if made.partitions and int(program.table[number, Column.FLAGS]) >> FLAG_BITS < 2 * DYNAMIC_PIECES_PER_THREAD:
        for operand, cut in zip(made.operands, made.partitions, strict=True):
            cuts.setdefault(operand, set()).add(cut)
    found = []
    for written, values in ((False, node.inputs), (True, node.outputs)):
        for which, value in enumerate(values):
            if written or value in node.reads:
                own = cuts.get((written, which), {None})
                found.append((value, written, own.pop() if len(own) == 1 else None))
    return found


@pytest.mark.usefixtures("everything_shared")
@pytest.mark.parametrize(
    ("name", "optimize"), [("recurrent", True), ("recurrent", False), ("mixture", True), ("mixture", False), ("dag 0", False)]
)
def test_a_thread_touches_its_part_and_nothing_else(name, optimize):
    """Each piece alone, with all else that is divided made NaN: it gives the same bits, and only in its own part."""
    program, checked = program_of(name, threads=3, optimize=optimize), 0
    for number in range(len(program.instructions)):
        kernel, record = KERNEL(int(program.table[number, Column.KERNEL])), int(program.table[number, Column.ARGUMENTS])
        operands = touched(program, number)
        buffers = {memory(program, v).ctypes.data: memory(program, v) for v, _, _ in operands}
        before = {at: buffer.copy() for at, buffer in buffers.items()}
        assert kernel(record, 0, 1, 0) == 0
        after = {at: buffer.copy() for at, buffer in buffers.items()}
        divided = [(v, written, cut) for v, written, cut in operands if cut]
        shared = not program.instructions[number].spec.serial
        for threads in (2, 3) if shared and divided else ():
            if any(cut.threads < threads for _, _, cut in divided):
                continue
            for thread in range(threads):
                for at, buffer in buffers.items():
                    buffer[:] = before[at]
                foreign = {at: np.zeros(buffer.size, bool) for at, buffer in buffers.items()}
                own = {at: np.zeros(buffer.size, bool) for at, buffer in buffers.items()}
                for value, written, cut in divided:
                    at, part = memory(program, value).ctypes.data, parts(program, value, cut, thread, threads)
                    foreign[at] |= elements(program, value) & ~part
                    if written:
                        own[at] |= part
                for value, _, cut in operands:
                    if not cut:  # all of it may be read, or written
                        foreign[memory(program, value).ctypes.data] &= ~elements(program, value)
                for at, buffer in buffers.items():
                    buffer[foreign[at]] = 0xFF
                assert kernel(record, thread, threads, thread) == 0
                for at, buffer in buffers.items():
                    what = f"{program.instructions[number].node} piece {thread} of {threads}"
                    assert (buffer[own[at]] == after[at][own[at]]).all(), what
                    assert (buffer[foreign[at] & ~own[at]] == 0xFF).all(), what
                checked += 1
        for at, buffer in buffers.items():
            buffer[:] = after[at]
    assert checked > 20


def check_barriers(program, threads):
    """Fails where between two barriers a thread touches a byte that another wrote, or writes one that another touched."""
    for n in range(2, threads + 1):
        everybody = (1 << n) - 1
        seen, scratch = {}, []
        for number in range(len(program.instructions)):
            flags = int(program.table[number, Column.FLAGS])
            if flags & BARRIER:
                seen, scratch = {}, []
            for start, end, thread in scratch_of(program, number, 1 if flags & SERIAL else n):
                assert not any(start < e and s < end and thread != t for s, e, t in scratch), (number, "scratch", n)
                scratch.append((start, end, thread))
            mine = []
            for value, written, cut in touched(program, number):
                who = np.zeros(memory(program, value).size, np.int64)
                if flags & SERIAL:
                    who[elements(program, value)] = 1
                elif cut and cut.threads >= threads:
                    for thread in range(n):
                        who[parts(program, value, cut, thread, n)] |= 1 << thread
                else:
                    who[elements(program, value)] = everybody
                mine.append((value, written, who))
            for value, written, who in mine:
                touchers, writers = byte_maps(program, seen, value)
                before = touchers if written else writers
                both = before | who
                several = (both & (both - 1)) != 0
                assert not (several & (before != 0) & (who != 0)).any(), (number, program.layout.names[value], n)
            for value, written, who in mine:
                touchers, writers = byte_maps(program, seen, value)
                touchers |= who
                writers |= who if written else 0


def scratch_of(program, number, threads):
    """(start, end, thread) of the scratch that each thread has for an instruction."""
    made = program.instructions[number].spec
    first = (int(program.table[number, Column.ARGUMENTS]) - program.arguments.ctypes.data) // 8
    for slot, operand in zip(made.slots, made.operands, strict=True):
        if operand == kernel_args.SCRATCH:
            start, need = int(program.arguments[first + slot]), int(made.words[slot])
            assert 0 <= start - program.scratch.ctypes.data <= program.scratch.size - threads * need
            yield from ((start + k * need, start + (k + 1) * need, k) for k in range(threads))


def byte_maps(program, seen, value):
    """For the bytes of a value's buffer, which threads touched and which wrote them; of the arena, its part."""
    storage = program.layout.storage[value]
    start = program.memory.offsets[storage]
    key, size = (-1, program.arena.size) if start >= 0 else (storage, program.layout.bytes[storage])
    if key not in seen:
        seen[key] = np.zeros((2, size), np.int64)
    start = max(start, 0)
    return seen[key][:, start : start + program.layout.bytes[storage]]


@pytest.mark.usefixtures("everything_shared")
@pytest.mark.parametrize("many", [barriers.MAX_ACCESSES, 12])
@pytest.mark.parametrize("optimize", [True, False], ids=["optimized", "plain"])
@pytest.mark.parametrize("name", GRAPHS)
def test_no_thread_needs_what_another_has_not_finished(name, optimize, many, monkeypatch):
    monkeypatch.setattr(barriers, "MAX_ACCESSES", many)
    program = program_of(name, threads=3, optimize=optimize)
    assert program.parallel
    check_barriers(program, threads=3)


@pytest.mark.usefixtures("everything_shared")
def test_the_check_finds_a_missing_barrier():
    program = program_of("recurrent", threads=3)
    marked = np.flatnonzero(program.table[:, Column.FLAGS] & BARRIER)
    missed = 0
    for number in marked:
        program.table[number, Column.FLAGS] &= ~BARRIER
        try:
            check_barriers(program, threads=3)
        except AssertionError:
            missed += 1
        program.table[number, Column.FLAGS] |= BARRIER
    assert len(marked) >= 4
    assert missed >= 0.8 * len(marked)  # on AVX-512 each is needed; values that interlace may meet for nothing elsewhere


def layers(rows, end=None):
    g = gx.Graph("layers")
    h = g.input("x", (rows, 64))
    for k in range(5):
        h = ops.tanh(h @ g.parameter(f"w{k}", (64, 64), init="normal(std=0.1)"))
    g.output(h if end is None else end(h))
    return g


def meets_of(graph, threads):
    exe = gx.compile(graph, threads=threads, seed=1)
    exe(x=np.zeros((64, 64), np.float32))
    assert exe.program.parallel
    return int(np.count_nonzero(exe.program.table[:, Column.FLAGS] & BARRIER))


def test_threads_go_through_layers_with_rows_of_their_own():
    assert meets_of(layers(64), threads=4) == 0
    assert meets_of(layers(64), threads=16) == 4  # too few rows for each, so that products are cut in another way


def test_a_sum_over_the_batch_waits_for_all():
    assert meets_of(layers(64, lambda h: ops.sum(h, axis=0)), threads=4) == 1
