"""Runner: a program bound to its input arrays, run on the number of threads that is fastest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy import ndarray

from graphexec.abi import ASK
from graphexec.errors import KernelError
from graphexec.ir.function import Function, Node
from graphexec.lower.program import Program
from graphexec.runtime.call import CompiledCall
from graphexec.runtime.failure import Origin, kernel_error, no_origin
from graphexec.runtime.thread_tuner import CALLS_PER_RECORD, ThreadTuner


class Place(Protocol):
    """What takes an array by ``place[...] = array``."""

    def __setitem__(self, every: EllipsisType, array: np.ndarray, /) -> None: ...


@dataclass
class Runner:
    """A program bound to its input arrays, ready to be called again and again."""

    checked: ClassVar[bool] = False
    """Whether its array kernels check their indices."""

    program: Program
    fn: Function
    inputs: dict[str, np.ndarray]
    threads: int = 1
    sizes: tuple[Any, ...] = ()
    origin: Origin = no_origin
    results: Mapping[str, int] = field(default_factory=dict)
    """The arrays that a call returns, by name."""

    def __post_init__(self) -> None:
        self._call = CompiledCall(self.program.table)
        self.enter: Callable[[int], int] = self._call.enter
        """Runs the program for a call, whose results ``read`` returns."""
        self.tuner: ThreadTuner | None = None
        """Chooses the number of threads; None if it is fixed."""
        self._before = 0
        self.progress = self._call.progress
        self._arrays: dict[int, np.ndarray] = {}
        self.read: Callable[[], Any] = dict
        """Returns the results of a call."""
        self.places: Mapping[str, Place] = self.inputs
        """Where inputs are copied to, by name."""
        self._expected: list[tuple[str, tuple[int, ...], np.dtype[Any], Place]] = [
            (name, buffer.shape, buffer.dtype, buffer) for name, buffer in self.inputs.items()
        ]
        if self.threads > 1 and self.program.parallel:
            self.tuner = ThreadTuner(self.threads)
            self._call.tune()

    def take(self, inputs: Mapping[str, Any]) -> bool:
        """Takes inputs if their names, shapes and types are those of the last call; returns whether they are."""
        expected = self._expected
        if len(inputs) != len(expected):
            return False
        try:
            for name, shape, dtype, _ in expected:
                array = inputs[name]
                if type(array) is not ndarray or array.dtype is not dtype or array.shape != shape:
                    return False
        except KeyError:
            return False
        for name, _, _, place in expected:
            place[...] = inputs[name]
        return True

    def copied_inputs(self) -> dict[str, np.ndarray]:
        """The inputs as they are, whatever is given later."""
        return {name: array.copy() for name, array in self.inputs.items()}

    def aim(self, out: Any) -> bool:
        """Lets the next call write results into arrays, if it is certain that it can; returns whether it is."""
        return False

    def write_to(self, out: Mapping[str, np.ndarray]) -> None:
        """Lets the next call write results into arrays that hold them, as far as it can."""

    def forget_targets(self) -> None:
        """Ends `aim` and `write_to`."""

    def run(self, times: int = 1) -> None:
        """Runs the program; *raises* KernelError that names the node when a kernel reports an error."""
        self._before = 0
        status = self._call.enter(times)
        if status:
            self.settle(status, times)

    def settle(self, status: int, times: int) -> None:
        """Continues after a call that returned early: chooses a number of threads, or raises."""
        while status == ASK:
            done, self.progress[0] = int(self.progress[0]), 0
            self._before += done
            self._ask()
            status = self._call.enter(times - self._before)
        if status:
            self.fail(status)

    def _ask(self) -> None:
        if self.tuner is None:  # fixed, but the pool's threads are gone: in a forked child, or at exit
            self._call.use(self.threads)
            return
        seconds, runs = self._call.spent()
        if runs:
            self.tuner.record(seconds / runs, runs)
        threads, runs = self.tuner.choose()
        self._call.use(threads, min(runs, CALLS_PER_RECORD), runs)

    def fix(self, threads: int) -> None:
        """From now on runs on this number of threads and makes no trials."""
        self.tuner, self.threads = None, threads
        self._call.use(threads)

    @property
    def done(self) -> int:
        """Completed runs of the last call; can be read while it goes on."""
        return self._before + int(self.progress[0])

    @property
    def failed(self) -> Node:
        """The node of the instruction that failed last."""
        return self.program.instructions[int(self.progress[2])].node

    def fail(self, status: int) -> None:
        """Restores the state from the beginning of the run. *Raises* KernelError that names the node of the failed instruction."""
        for leaf, copy in self.fn.saved.items():
            self.array(leaf)[...] = self.array(copy)
        raise self.error(status)

    def error(self, status: int) -> KernelError:
        """The error for a status, chained to the exception that the kernel raised."""
        return kernel_error(self.program, self.fn, self.failed, status, self.origin)

    def array(self, value: int) -> np.ndarray:
        """The memory of a kept value, as an array."""
        if value not in self._arrays:
            self._arrays[value] = self.program.array(value)
        return self._arrays[value]
