"""A program bound to its input arrays, called again and again on as many threads as pay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphexec.abi import ASK
from graphexec.errors import KernelError
from graphexec.ir.function import Function
from graphexec.lower.program import Program
from graphexec.runtime.call import CompiledCall
from graphexec.runtime.thread_tuner import STRETCH, ThreadTuner


@dataclass
class Runner:
    """A program bound to its input arrays, ready to be called again and again."""

    program: Program
    fn: Function
    inputs: dict[str, np.ndarray]
    threads: int = 1
    sizes: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        self._call = CompiledCall(self.program.table)
        self._enter = self._call.enter
        self._pace: ThreadTuner | None = None
        self._before = 0
        self.progress = self._call.progress
        self._arrays: dict[int, np.ndarray] = {}
        self.results: list[tuple[str, np.ndarray]] = []
        self._expected = [(name, buffer.shape, buffer.dtype, buffer) for name, buffer in self.inputs.items()]
        if self.threads > 1 and self.program.parallel:
            self._pace = ThreadTuner(self.threads)
            self._call.pace()

    def take(self, inputs: Mapping[str, Any]) -> bool:
        """Copies inputs in, if they are what they were before: the same names, shapes and types; whether they are."""
        if len(inputs) != len(self._expected):
            return False
        for name, shape, dtype, _ in self._expected:
            array = inputs.get(name)
            if type(array) is not np.ndarray or array.dtype is not dtype or array.shape != shape:
                return False
        for name, _, _, buffer in self._expected:
            buffer[...] = inputs[name]
        return True

    def run(self, times: int = 1) -> None:
        """*Raises* KernelError naming the node, when a kernel reports an error."""
        self._before = 0
        status = self._enter(times)
        if status:
            self._settle(status, times)

    def _settle(self, status: int, times: int) -> None:
        """Goes on after a call that did not do all: says on how many threads, or raises."""
        while status == ASK:
            done, self.progress[0] = int(self.progress[0]), 0
            self._before += done
            self._ask()
            status = self._enter(times - self._before)
        if status:
            self.fail(status)

    def _ask(self) -> None:
        if self._pace is None:  # fixed, but its crew is gone: in a forked child, or because Python ends
            self._call.use(self.threads)
            return
        seconds, runs = self._call.spent()
        if runs:
            self._pace.tell(seconds / runs, runs)
        threads, most = self._pace.pick()
        self._call.use(threads, min(most, STRETCH), most)

    def fix(self, threads: int) -> None:
        """From now on runs on so many threads, and looks for no better number."""
        self._pace, self.threads = None, threads
        self._call.use(threads)

    @property
    def done(self) -> int:
        """Runs that are done of those asked for last; may be read while they go on."""
        return self._before + int(self.progress[0])

    def fail(self, status: int) -> None:
        node = self.program.instructions[int(self.progress[2])].node
        message = node.op.errors.get(status) or f"the kernel failed with status {status}"
        facts = [f"{p} = {self.fn.names[v]!r}   {self.fn.specs[v]}" for p, v in zip(node.op.inputs, node.inputs, strict=False)
                 if 0 <= v < len(self.fn.specs)]  # fmt: skip
        raise KernelError(
            message, node=node.name, op=node.op.name, source=node.source, facts=facts, todo="Check the values of its operands."
        )

    def array(self, value: int) -> np.ndarray:
        """The memory of a value that is kept."""
        if value not in self._arrays:
            self._arrays[value] = self.program.array(value)
        return self._arrays[value]
