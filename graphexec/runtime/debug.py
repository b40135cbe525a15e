"""debug: runs a program one instruction at a time, and looks at the memory around every array kernel.

Loops are the engine's own, and write what they are to write. An array kernel is a plugin's: before it runs, its outputs and the
scratch memory are filled with one byte, and it runs a second time with another. Elements that keep the byte, or that differ, are
those that it left unwritten or made of memory that it had not written. Its kernels are compiled with bounds checks, so it writes
nowhere else.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn

import numpy as np

from graphexec.errors import KernelError
from graphexec.ir.function import Node
from graphexec.ir.kernel_op import KernelOp
from graphexec.runtime import call
from graphexec.runtime.failure import kernel_error, kernel_of, located
from graphexec.runtime.runner import Runner

PATTERNS = (0x3F, 0xFF)
"""Bytes that fill memory: floats below 1, which no sum absorbs; then NaN, -1 and True, so that what is used shows in results."""


class DebugRunner(Runner):
    """Runs a program on the caller's thread. A run that fails changes no state, whatever it fails of."""

    checked: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tuner = None
        self.enter = self._enter

    def run(self, times: int = 1) -> None:
        self._before = 0
        self._enter(times)

    def _enter(self, times: int) -> int:
        """Runs the program instead of its table: calls enter here, and everything else through `run`. *Raises* KernelError."""
        self.progress[0] = 0
        for _ in range(times):
            if self.progress[1]:
                break
            kept = [(array, array.copy()) for array in self._written_state()]
            try:
                status = self._run_once()
                if status:
                    raise self.error(status)
            except BaseException:
                for array, copy in kept:
                    array[...] = copy
                raise
            self.progress[0] += 1
        return 0

    def error(self, status: int) -> KernelError:
        return kernel_error(self.program, self.fn, self.failed, status, self.origin, float("inf"))

    def _written_state(self) -> list[np.ndarray]:
        """The arrays outside the arena that the program overwrites."""
        layout, buffers = self.program.layout, self.program.buffers
        storages = {layout.storage[v] for i in self.program.instructions for v in i.node.update_targets}
        return [buffers[s] for s in sorted(storages) if s in buffers]

    def _run_once(self) -> int:
        self.program.arena.view(np.uint8)[...] = PATTERNS[-1]
        self._poison_scratch(PATTERNS[-1])
        for number, instruction in enumerate(self.program.instructions):
            self.progress[2] = number
            node = instruction.node
            status = self._run_checked(number, node) if isinstance(node.op, KernelOp) else self._run_one(number)
            if status:
                return status
        return 0

    def _run_one(self, number: int) -> int:
        table = self.program.table[number : number + 1]
        progress = np.zeros(3, np.int64)
        return call.loop()(table.ctypes.data, 1, 1, progress.ctypes.data)

    def _poison_scratch(self, pattern: int) -> None:
        if self.program.scratch is not None:
            self.program.scratch.view(np.uint8)[...] = pattern

    def _run_checked(self, number: int, node: Node) -> int:
        """Runs an array kernel twice on the same operands, over memory with different content."""
        outputs = [self.program.array(v) for v in node.outputs]
        in_place = outputs[: len(node.op.updates)]
        before = [array.copy() for array in in_place]
        operands = {k: a for k, a in self._operands(node).items() if not any(np.may_share_memory(a, o) for o in outputs)}
        given = {k: array.copy() for k, array in operands.items()}
        results = []
        for pattern in PATTERNS:
            for array, copy in zip(in_place, before, strict=True):
                array[...] = copy
            for array in outputs[len(in_place) :]:
                _bits(array)[...] = np.frombuffer(bytes([pattern]) * array.itemsize, _bits(array).dtype)[0]
            self._poison_scratch(pattern)
            status = self._run_one(number)
            if status:
                for array, copy in zip(in_place, before, strict=True):  # so that it can be run again to learn what it raised
                    array[...] = copy
                return status
            results.append([array.copy() for array in outputs])
        for k, array in operands.items():
            if not np.array_equal(_bits(array), _bits(given[k])):
                self._refuse(node, f"{kernel_of(node)} changes its operand {node.op.input_name(k)!r}",
                             "Write to outputs only; copy an operand that the kernel needs to change.")  # fmt: skip
        for name, first, second in zip(node.op.outputs, *results, strict=True):
            self._compare(node, name, first, second)
        return 0

    def _operands(self, node: Node) -> dict[int, np.ndarray]:
        """The operands whose memory the kernel reads, by slot."""
        return {k: self.program.array(v) for k, v in enumerate(node.inputs) if v in node.reads}

    def _compare(self, node: Node, name: str, first: np.ndarray, second: np.ndarray) -> None:
        """*Raises* KernelError for an output that is not the same after both runs."""
        differs = _bits(first) != _bits(second)
        if not differs.any():
            return
        kept = differs.copy()
        for array, pattern in zip((first, second), PATTERNS, strict=True):
            kept &= _bits(array) == np.frombuffer(bytes([pattern]) * array.itemsize, _bits(array).dtype)[0]
        if np.array_equal(kept, differs):
            count = int(kept.sum())
            self._refuse(
                node, f"{kernel_of(node)} leaves {count} of the {first.size} elements of {name!r} unwritten",
                "Write every element of every output: the memory is not cleared.", f"{_place(name, kept)} is the first of them",
            )  # fmt: skip
        self._refuse(
            node,
            f"{kernel_of(node)} reads memory that it has not written, or draws random numbers: {name!r} differs between two runs",
            "Write outputs and scratch memory before you read them.",
            f"{_place(name, differs)} is {first[differs][0]} and {second[differs][0]}",
        )  # fmt: skip

    def _refuse(self, node: Node, what: str, todo: str, *facts: str) -> NoReturn:
        code = getattr(node.op.function, "__code__", None)
        place = [f"{code.co_filename}:{code.co_firstlineno}"] if code is not None else []
        error = KernelError(what, facts=[*facts, *place], todo=todo)
        raise located(error, self.fn, node, self.origin)


def _bits(array: np.ndarray) -> np.ndarray:
    """An array's elements as integers: NaN equals itself, and 0.0 differs from -0.0."""
    found: np.ndarray = array.view(f"u{array.itemsize}")
    return found


def _place(name: str, mask: np.ndarray) -> str:
    """The first element of an output that a mask selects."""
    index = np.argwhere(mask)[0]
    return f"{name}[{', '.join(map(str, index))}]" if mask.ndim else name
