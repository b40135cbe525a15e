"""Measures the time of a program, as a whole and instruction by instruction."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from graphexec.abi import ALIGNMENT, Column
from graphexec.lower.alignment import rounded
from graphexec.runtime.call import loop

if TYPE_CHECKING:
    from graphexec.lower.program import Program
    from graphexec.runtime.runner import Runner

MIN_SAMPLE_SECONDS = 1e-3
"""A sample is at least this long, so that the cost of reading the clock does not show."""

MIN_INSTRUCTION_SECONDS = 2e-5
"""Shorter instructions are run many times in a row."""


def run_times(runner: Runner, seconds: float) -> np.ndarray:
    """Measures for ``seconds`` and returns the seconds per run: one mean for each sample."""
    begin = time.perf_counter()
    runner.run()
    times = max(int(MIN_SAMPLE_SECONDS / max(time.perf_counter() - begin, 1e-9)), 1)
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 3:
        begin = time.perf_counter()
        runner.run(times)
        found.append((time.perf_counter() - begin) / times)
    return np.array(found)


def instruction_times(runner: Runner, seconds: float) -> np.ndarray:
    """Measures for ``seconds`` on one thread and returns the median time of each instruction, in seconds.

    Instructions run in program order, so that values are those of a normal run. A short one runs many times in a row, since
    a single run is shorter than the error of the clock; the cost of the call is subtracted. If it overwrites its operands, a
    copy runs instead that stores its results elsewhere: on its own results it would arrive at infinities, or at subnormal
    numbers, which are slow.
    """
    count = len(runner.program.table)
    if not count:
        return np.zeros(0)
    repeats = np.ones(count, np.int64)
    walk = Walk(runner)
    once = np.median([walk.seconds(repeats) for _ in range(5)], axis=0)
    short = once < MIN_INSTRUCTION_SECONDS
    repeats[short] = np.ceil(MIN_INSTRUCTION_SECONDS / np.maximum(once[short], MIN_INSTRUCTION_SECONDS / 1000))
    walk.keep_apart([k for k in np.flatnonzero(short).tolist() if in_place(runner.program, k)])
    found = [walk.seconds(repeats)]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 3:
        found.append(walk.seconds(repeats))
    times: np.ndarray = np.median(found, axis=0)
    return times


class Walk:
    """Runs a program's table row by row and times each row."""

    def __init__(self, runner: Runner) -> None:
        self.runner, self.apart = runner, {}  # type: Runner, dict[int, np.ndarray]
        self.elsewhere = np.zeros(0, np.uint8)

    def keep_apart(self, rows: list[int]) -> None:
        """Makes copies of these instructions that store their results in separate memory, which all copies share."""
        program = self.runner.program
        sizes = [sum(rounded(program.layout.bytes[s]) for s in _written(program, k)) for k in rows]
        self.elsewhere = np.zeros(max(sizes, default=0) + ALIGNMENT, np.uint8)
        start = self.elsewhere.ctypes.data + -self.elsewhere.ctypes.data % ALIGNMENT
        for k in rows:
            self.apart[k] = _elsewhere(program, k, start)

    def seconds(self, repeats: np.ndarray) -> np.ndarray:
        """The time of each instruction in one run of the program in which it is called ``repeats`` times."""
        call, table, progress, clock = loop(), self.runner.program.table, self.runner.progress, time.perf_counter_ns
        address, row, context, count = table.ctypes.data, table.strides[0], progress.ctypes.data, len(table)
        stamps = np.zeros((count, 2), np.int64)
        for k, times in enumerate(repeats.tolist()):
            here = address + row * k
            measured = self.apart[k].ctypes.data if k in self.apart else here
            begin = clock()
            status = call(measured, 1, times, context)
            stamps[k] = begin, clock()
            if k in self.apart:
                status = status or call(here, 1, 1, context)
            if status:
                progress[2] = k
                self.runner.fail(status)
        idle = []
        for _ in range(9):  # an empty table: the time of the call
            begin = clock()
            call(address, 0, 1, context)
            idle.append(clock() - begin)
        seconds: np.ndarray = np.maximum(stamps[:, 1] - stamps[:, 0] - np.median(idle), 0.0) * 1e-9 / repeats
        return seconds


def _written(program: Program, row: int) -> dict[int, None]:
    """The storages that an instruction writes, in order."""
    return dict.fromkeys(program.layout.storage[v] for v in program.instructions[row].node.outputs)


def in_place(program: Program, row: int) -> bool:
    """Whether an instruction writes over what it reads."""

    def span(value: int) -> tuple[int, int]:
        storage = program.layout.storage[value]
        start = int(program.addresses[storage])
        return start, start + program.layout.bytes[storage]

    node = program.instructions[row].node
    read = [span(v) for v in node.reads]
    return any(a < d and c < b for a, b in map(span, node.outputs) for c, d in read)


def _elsewhere(program: Program, row: int, start: int) -> np.ndarray:
    """A row of a table followed by its argument block: the instruction, with its results stored from ``start`` on."""
    spec, outputs = program.instructions[row].spec, program.instructions[row].node.outputs
    first = (int(program.table[row, Column.ARGUMENTS]) - program.arguments.ctypes.data) // 8
    copy = np.concatenate([program.table[row], program.arguments[first : first + spec.words.size]])
    arguments = copy[len(Column) :]
    copy[Column.ARGUMENTS] = arguments.ctypes.data
    moved = {}
    for storage in _written(program, row):
        moved[storage] = start - int(program.addresses[storage])
        start += rounded(program.layout.bytes[storage])
    for slot, operand in zip(spec.slots, spec.operands, strict=True):
        if operand.is_output:
            arguments[slot] += moved[program.layout.storage[outputs[operand.index]]]
    for word, target in spec.links:
        arguments[word] = arguments.ctypes.data + target * 8
    return copy
