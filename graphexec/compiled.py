"""Compiled: the functions, arrays and runners of a graph, shared by `Executable` and the training loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from graphexec import pipeline
from graphexec.errors import DataError, GraphExecError
from graphexec.graph.graph import Graph
from graphexec.ir.convert import as_array, converted
from graphexec.ir.function import Function, Leaf
from graphexec.ir.spec import shape_text
from graphexec.lower.alignment import aligned, aligned_array
from graphexec.lower.program import Program
from graphexec.optim.initializers import initial_value
from graphexec.optim.optimizers import Optimizer
from graphexec.runtime.borrowing import BorrowingRunner, pays
from graphexec.runtime.results import check_targets
from graphexec.runtime.runner import Runner
from graphexec.runtime.state import Parameters, checked_file, unknown
from graphexec.runtime.thread_pool import default_threads
from graphexec.runtime.turns import Turns, Visitor, stays


class Caller(Visitor):
    """A thread that calls: the runner of its last call, and the inputs of that call once another thread's have replaced them."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Runner | None = None
        self.inputs: dict[str, np.ndarray] | None = None
        self.deltas: Mapping[str, np.ndarray] | None = None

    def keep_inputs(self) -> None:
        """Copies the inputs, before another thread's replace them."""
        if self.last is not None:
            self.inputs = self.last.copied_inputs()


class Sized:
    """The input arrays and the runners for one set of sizes."""

    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray] = {}
        self.runners: dict[str, Runner] = {}

    @property
    def nbytes(self) -> int:
        """The memory that would be free without them."""
        return sum(a.nbytes for a in self.buffers.values()) + sum(r.program.nbytes for r in self.runners.values())


MIN_SIZES, MAX_SIZES, MAX_BYTES = 4, 32, 1 << 28
"""Sets of sizes whose programs are kept: the latest few whatever they take, and up to so many within that memory."""


class Compiled:
    """The functions of a graph, the arrays that its programs share, and a runner for each mode and set of sizes.

    A mode is "forward", "gradients" or "step". A program is lowered at its first use, and again for other sizes, which
    takes milliseconds.
    """

    def __init__(
        self, graph: Graph, *, loss: str | None, optimizer: Optimizer | None, wrt: Sequence[str] | None, seed: int,
        threads: int | None, keep_deltas: bool, skip: frozenset[str], recompute: Any, debug: bool = False,
    ) -> None:  # fmt: skip
        self.graph, self.loss, self.optimizer, self.seed, self.skip = graph, loss, optimizer, seed, skip
        self.threads_given, self.debug = threads, debug
        self.threads = default_threads() if threads is None else threads
        self.functions = pipeline.Functions(
            graph, loss, wrt, optimizer, keep_deltas=keep_deltas, skip=skip, recompute=recompute, checked_kernels=debug
        )
        self.inputs: dict[str, Leaf] = {leaf.name: leaf for leaf in self.functions.forward.of_role("input")}
        parameters = self.functions.forward.of_role("parameter")
        self.state: dict[str, np.ndarray] = {leaf.name: aligned_array(self._first_value(leaf)) for leaf in parameters}
        """Every array that programs read and write from run to run, by name."""
        self.turns = Turns(Caller)
        """Whose call it is. Whatever reads or writes the arrays, or makes a program, does so in its thread's turn."""
        self.parameters = Parameters({leaf.name: self.state[leaf.name] for leaf in parameters}, self.turns)
        self.caller: Caller | None = None
        """The thread that called last: the inputs are its own."""
        self._sized: dict[tuple[Any, ...], Sized] = {}
        self.recent: dict[str, Runner | None] = dict.fromkeys(("forward", "gradients", "step"))
        """The runner of each mode that ran last."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise stays("a compiled program belongs to its process's memory", "Send the executable, which is compiled again there.")

    def _first_value(self, leaf: Leaf) -> np.ndarray:
        if leaf.value is not None:
            return np.asarray(leaf.value)
        try:
            return initial_value(leaf.name, leaf.init, tuple(int(n) for n in leaf.shape), leaf.dtype, self.seed)
        except GraphExecError as error:
            raise error.at(node=leaf.name, source=leaf.location) from None

    @property
    def mode(self) -> str:
        """The most comprehensive mode available."""
        return "step" if self.optimizer else "gradients" if self.loss else "forward"

    @property
    def last(self) -> Runner | None:
        """The runner that ran last."""
        return self.caller.last if self.caller is not None else None

    def bound(self, mode: str, inputs: Mapping[str, Any], me: Caller | None = None, out: Any = None) -> Runner:
        """Returns the runner for inputs of these sizes and gives it the inputs; without any, the runner for the last sizes.

        ``me`` is the calling thread at ``turns``; the last inputs are those of its own last call. If ``out`` does not fit the
        results, nothing changes.
        """
        me = me or self.turns.visitors.visitor
        recent = self.recent[mode]
        if self.caller is me and not inputs and me.last is recent and recent is not None:
            if out is not None:
                check_targets(recent, out)
                recent.write_to(out)
            return recent
        sizes, arrays = self._given(inputs) if inputs else self.last_inputs(me)
        runner = self.runner(mode, sizes)
        if out is not None:
            check_targets(runner, out)
        runner.write_to(out or {})
        if self.caller is not None and self.caller is not me:
            self.caller.keep_inputs()
        for name, array in arrays.items():
            if runner.inputs[name] is not array:
                runner.places[name][...] = array
        self.caller, me.last, me.inputs, self.recent[mode] = me, runner, None, runner
        return runner

    def forget_targets(self) -> None:
        """After a call that failed: no later one writes to its arrays."""
        for runner in self.recent.values():
            if runner is not None:
                runner.forget_targets()

    def _given(self, inputs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, np.ndarray]]:
        arrays = self.arrays(inputs)
        return self.bind(arrays), arrays

    def last_inputs(self, me: Caller) -> tuple[tuple[Any, ...], Mapping[str, np.ndarray]]:
        """Sizes and inputs of a thread's last call; if it has made none, of the last call of any thread."""
        if me.last is None and self.caller is not None:
            me = self.caller
        if me.last is None:
            return self.bind({}), {}
        return me.last.sizes, me.last.inputs if me.inputs is None else me.inputs

    def arrays(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Converts inputs to the element types of the graph, those that have them without a copy. *Raises* DataError."""
        arrays = {}
        for name, given in inputs.items():
            leaf, what = self.inputs.get(name), f"input {name!r}"
            if leaf is None:
                raise unknown("input", name, self.inputs)
            try:
                array = as_array(given, what)
                arrays[name] = array if array.dtype == leaf.dtype else converted(array, leaf.dtype, what)
            except DataError as error:
                error.facts = [f"declared {leaf.dtype}{shape_text(leaf.shape)}", *error.facts]
                raise error.at(source=leaf.location) from error.__cause__
        return arrays

    def bind(self, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Returns the sizes of named dimensions implied by the arrays. *Raises* DataError if they do not fit the graph."""
        sizes: dict[str, tuple[int, str]] = {}
        for name in inputs:
            if name not in self.inputs:
                raise unknown("input", name, self.inputs)
        for name, leaf in self.inputs.items():
            if name not in inputs:
                raise DataError(
                    f"input {name!r} is missing",
                    facts=[f"{name}: {leaf.dtype}{shape_text(leaf.shape)}"],
                    todo=f"Give {name}=array.",
                )
            check_fits(leaf, np.asarray(inputs[name]), sizes)
        return tuple((n, v) for n, (v, _) in sizes.items())

    def runner(self, mode: str, sizes: tuple[Any, ...]) -> Runner:
        """Returns the runner of a mode for given sizes of named dimensions.

        Programs for the sizes used last are kept, `MAX_SIZES` of them and up to `MAX_BYTES`; for others they are made again.
        """
        sized = self._sized.pop(sizes, None) or Sized()
        self._sized[sizes] = sized  # last in the order
        if mode not in sized.runners:
            sized.runners[mode] = self._new_runner(mode, sizes, sized)
            self._drop_oldest()
        return sized.runners[mode]

    def _drop_oldest(self) -> None:
        total = sum(sized.nbytes for sized in self._sized.values())
        for sizes in list(self._sized)[:-MIN_SIZES]:
            if len(self._sized) <= MAX_SIZES and total <= MAX_BYTES:
                return
            dropped = self._sized.pop(sizes)
            total -= dropped.nbytes
            for mode, runner in dropped.runners.items():
                if self.recent[mode] is runner:
                    self.recent[mode] = None

    def _new_runner(self, mode: str, sizes: tuple[Any, ...], sized: Sized) -> Runner:
        fn = self.functions.sized(mode, dict(sizes))
        buffers = sized.buffers
        for leaf in fn.of_role("input"):
            if leaf.name not in buffers:
                spec = fn.specs[leaf.value_id]
                buffers[leaf.name] = aligned(spec.nbytes).view(spec.dtype).reshape(spec.shape)
        results = fn.outputs if mode == "forward" else fn.gradients if mode == "gradients" else {}
        program, inputs = self.lower(fn, buffers), {n: buffers[n] for n in self.inputs}
        runner = self.runner_of(program, fn, inputs, sizes, results)
        runner.read = _reader(mode, runner, self.loss)
        return runner

    def runner_of(
        self, program: Program, fn: Function, inputs: dict[str, np.ndarray], sizes: tuple[Any, ...] = (),
        results: Mapping[str, int] = MappingProxyType({}),
    ) -> Runner:  # fmt: skip
        """A runner of a program that `lower` has made; ``results`` are the arrays that a call returns."""
        if self.debug:
            from graphexec.runtime.debug import DebugRunner

            return DebugRunner(program, fn, inputs, 1, sizes, self.origin, results)
        kind = BorrowingRunner if inputs and pays(fn, results) else Runner
        return kind(program, fn, inputs, self.threads, sizes, self.origin, results)

    def origin(self, name: str) -> str | None:
        """The op of a node of the graph as the user wrote it; None for a node that a composite or the compiler added."""
        op = self.graph.dag.nodes[name]["op"] if name in self.graph.dag else None
        return None if op is None else str(getattr(op, "name", op))

    def lower(self, fn: Function, buffers: Mapping[str, np.ndarray]) -> Program:
        """Lowers a sized function to a program on these arrays and on the state; adds arrays that the state still lacks."""
        for leaf in fn.of_role("parameter"):
            if leaf.name not in buffers and leaf.name not in self.state:
                self.state[leaf.name] = _zeros(leaf)
        return pipeline.lowered(fn, {**self.state, **buffers}, 1 if self.debug else self.threads, self.skip, self.debug)

    # -- state

    def state_leaves(self) -> dict[str, Leaf]:
        """Returns the leaves of all arrays that training changes, by name, including those that no program has needed yet."""
        if self.optimizer is not None:
            self.functions.of("step")  # adds the optimizer's state to the leaves
        return self.functions.state_leaves()

    def assign(self, arrays: Mapping[str, np.ndarray], source: str) -> None:
        """Copies the arrays of a file into the state, all of them or none. *Raises* DataError if names, shapes or types differ."""
        targets = {name: self.state[name] if name in self.state else _zeros(leaf) for name, leaf in self.state_leaves().items()}
        fitting = checked_file(arrays, self.parameters, targets, source)
        self.state.update({name: targets[name] for name in fitting})
        for name, array in fitting.items():
            targets[name][...] = array


def _reader(mode: str, runner: Runner, loss: str | None) -> Callable[[], Any]:
    """A function that returns the results of a mode: outputs by name; loss and gradients; a step's loss."""
    total = -1 if mode == "forward" else runner.fn.outputs[str(loss)]
    if isinstance(runner, BorrowingRunner):
        arrays, scalar = runner.arrays, functools.partial(runner.scalar, total)
        return arrays if mode == "forward" else scalar if mode == "step" else lambda: (scalar(), arrays())
    results = [(name, runner.array(v)) for name, v in runner.results.items()]
    if mode == "forward":
        return lambda: {name: array.copy() for name, array in results}
    value: Callable[[], float] = runner.array(total).item
    return value if mode == "step" else lambda: (value(), {name: array.copy() for name, array in results})


def _zeros(leaf: Leaf) -> np.ndarray:
    return aligned_array(np.zeros(tuple(int(n) for n in leaf.shape), leaf.dtype))


def _differing(leaf: Leaf, array: np.ndarray) -> list[str]:
    return [f"declared {leaf.dtype}{shape_text(leaf.shape)}", f"given    {array.dtype}{shape_text(array.shape)}"]


def check_fits(leaf: Leaf, array: np.ndarray, sizes: dict[str, tuple[int, str]]) -> None:
    """Checks that an array fits an input, and binds the sizes of its named dimensions. *Raises* DataError."""
    if array.ndim != len(leaf.shape):
        raise DataError(
            f"input {leaf.name!r} has {array.ndim} axes, not {len(leaf.shape)}",
            facts=_differing(leaf, array),
            todo="Reshape the array.",
            source=leaf.location,
        )
    for axis, (n, size) in enumerate(zip(leaf.shape, array.shape, strict=True)):
        if isinstance(n, str):
            known, owner = sizes.setdefault(n, (size, leaf.name))
            if known != size:
                raise DataError(
                    f"dimension {n!r} is {known} in {owner!r} and {size} in {leaf.name!r}",
                    facts=_differing(leaf, array),
                    todo="Give inputs that share a dimension the same size.",
                    source=leaf.location,
                )
        elif n != size:
            raise DataError(
                f"input {leaf.name!r} has size {size} on axis {axis}, not {n}",
                facts=_differing(leaf, array),
                todo="Check the array.",
                source=leaf.location,
            )
