"""Borrowing: a program reads large inputs where the caller has them, and writes large results where the caller gets them.

Two copies take as long as an op that is bound by memory. An array that is C-contiguous and aligned needs none: its address goes
into the argument blocks. Smaller ones are faster to copy.

A program may only write what is its own or a result: an input is copied if it overlaps state that the program updates, or an array
that gets a result; inputs that instructions write are always copied. The array of a result belongs to the caller when the call
returns, and no address of it remains.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from graphexec.ir.function import Function
from graphexec.lower.alignment import address_of
from graphexec.lower.movable import Movable, movable_inputs, movable_results, own_memory, written_state
from graphexec.lower.program import Program
from graphexec.runtime.runner import Runner

MIN_BYTES = 1 << 17
"""Bytes from which on an array is not copied: about what a core copies while it looks for an address and stores it."""

MAX_MEMORIES = 2
"""Results whose memory is remembered: the caller still holds one while the next is computed."""


def _holders(memories: list[np.ndarray], k: int) -> int:
    return sys.getrefcount(memories[k])


_RECYCLES = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether references are counted, and only one thread at a time changes the count."""

_ALONE = _holders([np.empty(1)], 0) if _RECYCLES else -1
"""The count for an array that only the list holds."""

_NOTHING = np.empty(0)


def pays(fn: Function, results: Mapping[str, int]) -> bool:
    """Whether an input or a result is large enough."""
    values = (*(leaf.value_id for leaf in fn.of_role("input")), *results.values())
    return any(fn.specs[v].nbytes >= MIN_BYTES for v in values)


class BorrowingRunner(Runner):
    """A runner that copies only small inputs and results."""

    def __post_init__(self) -> None:
        super().__post_init__()
        program, name_of = self.program, {v: name for name, v in reversed([*self.results.items()])}
        self._native = self.enter
        self.updated, self._memory = written_state(program), own_memory(program)
        results, inputs = movable_results(program, name_of, MIN_BYTES), movable_inputs(program, MIN_BYTES)
        self._handed_over = {name_of[v]: ResultPlace(program, v, movable) for v, movable in results.items()}
        self._copied = [(name, v) for name, v in self.results.items() if name not in self._handed_over]
        self._borrowed = {name: InputPlace(self, name, movable) for name, movable in inputs.items()}
        self.places = {**self.inputs, **self._borrowed}
        self._expected = [(name, shape, dtype, self.places[name]) for name, shape, dtype, _ in self._expected]
        self._targets: list[tuple[int, int]] = []
        """Where the results of the next call go, as far as the caller has chosen."""
        self._moving = {movable.storage for movable in (*results.values(), *inputs.values())}
        if self._handed_over:
            self.enter = self._enter

    def copied_inputs(self) -> dict[str, np.ndarray]:
        return {name: array if self._is_borrowed(name) else array.copy() for name, array in self.inputs.items()}

    def _is_borrowed(self, name: str) -> bool:
        return name in self._borrowed and not self._borrowed[name].is_own

    def aim(self, out: Any) -> bool:
        """Chooses the arrays of the next call's results, if all fit and are exactly like the new ones; returns whether they are."""
        if type(out) is not dict:
            return False
        for name, target in out.items():
            place = self._handed_over.get(name)
            if place is None or not place.aim(target) or self._touches(target):
                self.forget_targets()
                return False
        return True

    def _touches(self, target: np.ndarray) -> bool:
        """Whether an array overlaps the program's memory or another target; if not, it is a target from now on."""
        address, nbytes = address_of(target), target.nbytes
        if self._memory.touch(address, nbytes) or self.is_target(address, nbytes):
            return True
        self._targets.append((address, address + nbytes))
        return False

    def is_target(self, address: int, nbytes: int) -> bool:
        """Whether a result's array overlaps the bytes from an address on."""
        for start, end in self._targets:
            if address < end and start < address + nbytes:
                return True
        return False

    def write_to(self, out: Mapping[str, np.ndarray]) -> None:
        self.forget_targets()
        for name, target in out.items():
            place = self._handed_over.get(name)
            if place is None or not place.can_be(target) or self._touches(target):
                self._targets.append(byte_bounds(target))
            else:
                place.wanted = target
        for borrowed in self._borrowed.values():
            borrowed.check()

    def forget_targets(self) -> None:
        self._targets.clear()
        for place in self._handed_over.values():
            place.wanted = None

    def _enter(self, times: int) -> int:
        for place in self._handed_over.values():
            place.prepare()
        return self._native(times)

    def arrays(self) -> dict[str, np.ndarray]:
        """The results of a call, which from now on belong to the caller."""
        found = dict.fromkeys(self.results, _NOTHING)
        for name, value in self._copied:  # while those that share their memory are still there
            found[name] = self.array(value).copy()
        for name, place in self._handed_over.items():
            found[name] = place.hand_over()
        self._targets.clear()
        return found

    def scalar(self, value: int) -> float:
        """A number, which may be an element of an input."""
        return float(self.array(value).item())

    def run(self, times: int = 1) -> None:
        self._return_results()
        super().run(times)

    def fail(self, status: int) -> None:
        try:
            super().fail(status)
        finally:
            self._return_results()

    def _return_results(self) -> None:
        for place in self._handed_over.values():
            place.movable.return_home()

    def array(self, value: int) -> np.ndarray:
        return self.program.array(value) if self.program.layout.storage[value] in self._moving else super().array(value)


class InputPlace:
    """Where a program reads an input. To assign to all of it, as to an array, copies the elements or only notes their address."""

    def __init__(self, runner: BorrowingRunner, name: str, movable: Movable) -> None:
        self._runner, self._name, self.movable, self._own = runner, name, movable, runner.inputs[name]

    @property
    def is_own(self) -> bool:
        return self._runner.inputs[self._name] is self._own

    def __setitem__(self, _all: Any, array: np.ndarray) -> None:
        flags, movable = array.flags, self.movable
        if flags.c_contiguous and flags.aligned:
            address = address_of(array)
            if not (self._runner.updated.touch(address, movable.nbytes) or self._runner.is_target(address, movable.nbytes)):
                view = array.view()  # the caller may set the shape of its own object
                movable.move(view, address)
                self._runner.inputs[self._name] = view
                return
        self._copy(array)

    def _copy(self, array: np.ndarray) -> None:
        self._own[...] = array
        self.movable.return_home()
        self._runner.inputs[self._name] = self._own

    def check(self) -> None:
        """Copies a borrowed input that a result's array overlaps."""
        if not self.is_own and self._runner.is_target(self.movable.address, self.movable.nbytes):
            self._copy(self._runner.inputs[self._name])


class ResultPlace:
    """Where a program writes a result: the caller's array or, for each call, a new one."""

    def __init__(self, program: Program, value: int, movable: Movable) -> None:
        spec = program.layout.specs[value]
        self._shape, self._dtype, self.movable = tuple(int(n) for n in spec.shape), np.dtype(spec.dtype), movable
        self.wanted: np.ndarray | None = None
        """The caller's array for the next result."""
        self._array = _NOTHING
        self._memories: list[np.ndarray] = []
        """The arrays that own the memory of the latest results, each returned as a view: whoever uses one holds its owner."""

    def aim(self, target: Any) -> bool:
        """Chooses an array for the next result, if it is like a new one; returns whether it is."""
        if type(target) is np.ndarray and target.shape == self._shape and target.dtype is self._dtype and target.flags.carray:
            self.wanted = target
            return True
        return False

    def can_be(self, target: np.ndarray) -> bool:
        """Whether a kernel can write the result there, if it has the right shape."""
        return target.dtype == self._dtype and target.flags.carray

    def prepare(self) -> None:
        """Before a run."""
        self._array = array = self._new() if self.wanted is None else self.wanted
        self.movable.move(array if type(array) is np.ndarray else array.view(np.ndarray), address_of(array))

    def _new(self) -> np.ndarray:
        """An array in memory of an earlier result that nobody holds any more, or in new memory, which takes longer to touch."""
        for k in range(len(self._memories)):
            if _RECYCLES and _holders(self._memories, k) == _ALONE:
                return self._memories[k].view()
        memory = np.empty(self._shape, self._dtype)
        self._memories = [*self._memories[1 - MAX_MEMORIES :], memory]
        return memory.view()

    def hand_over(self) -> np.ndarray:
        """After a run: the array, of which nothing remains here."""
        array, self._array, self.wanted = self._array, _NOTHING, None
        self.movable.return_home()
        return array
