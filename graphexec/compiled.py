"""Compiled: the functions, arrays and runners of a graph, shared by `Executable` and the training loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from graphexec import pipeline
from graphexec.errors import DataError, GraphExecError, with_hint
from graphexec.graph.graph import Graph
from graphexec.ir.convert import as_array, converted
from graphexec.ir.function import Function, Leaf
from graphexec.ir.spec import shape_text
from graphexec.lower.alignment import aligned, aligned_array
from graphexec.lower.program import Program
from graphexec.optim.initializers import initial_value
from graphexec.optim.optimizers import Optimizer
from graphexec.runtime.runner import Runner
from graphexec.runtime.thread_pool import default_threads


class Parameters(MutableMapping[str, np.ndarray]):
    """Parameters by name: the arrays that programs read and write. Assignment copies into them."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise unknown("parameter", name, self._arrays)
        return self._arrays[name]

    def __setitem__(self, name: str, value: Any) -> None:
        array, what = self[name], f"parameter {name!r}"
        value = as_array(value, what)
        check_assignable(name, array, value)
        array[...] = converted(value, array.dtype.name, what)

    def __delitem__(self, name: str) -> None:
        raise TypeError("parameters cannot be deleted: they belong to the graph")

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"<parameters {', '.join(f'{n} {a.shape} {a.dtype}' for n, a in self._arrays.items())}>"


def check_assignable(name: str, array: np.ndarray, value: np.ndarray) -> None:
    """Checks that a value fits a parameter. *Raises* DataError."""
    if value.shape != array.shape or not np.can_cast(value.dtype, array.dtype, "same_kind"):
        raise DataError(
            f"this array does not fit parameter {name!r}", facts=[f"parameter {shape_text(array.shape)} {array.dtype}",
            f"given {shape_text(value.shape)} {value.dtype}"], todo="Give an array of this shape and element type.",
        )  # fmt: skip


def unknown(what: str, name: str, known: Iterable[str]) -> DataError:
    """Builds the error for an unknown name, with the nearest known one."""
    known = list(known)
    return DataError(with_hint(f"there is no {what} {name!r}", name, known), todo=f"The {what}s are: {', '.join(known) or 'none'}.")


class Compiled:
    """The functions of a graph, the arrays that its programs share, and a runner for each mode and set of sizes.

    A mode is "forward", "gradients" or "step". A program is lowered at its first use, and again for other sizes, which
    takes milliseconds.
    """

    def __init__(
        self, graph: Graph, *, loss: str | None, optimizer: Optimizer | None, wrt: Sequence[str] | None, seed: int,
        threads: int | None, keep_deltas: bool, skip: frozenset[str], recompute: Any,
    ) -> None:  # fmt: skip
        self.graph, self.loss, self.optimizer, self.seed, self.skip = graph, loss, optimizer, seed, skip
        self.threads = default_threads() if threads is None else threads
        self.functions = pipeline.Functions(graph, loss, wrt, optimizer, keep_deltas=keep_deltas, skip=skip, recompute=recompute)
        self.inputs: dict[str, Leaf] = {leaf.name: leaf for leaf in self.functions.forward.of_role("input")}
        parameters = self.functions.forward.of_role("parameter")
        self.state: dict[str, np.ndarray] = {leaf.name: aligned_array(self._first_value(leaf)) for leaf in parameters}
        """Every array that programs read and write from run to run, by name."""
        self.parameters = Parameters({leaf.name: self.state[leaf.name] for leaf in parameters})
        self.last: Runner | None = None
        """The runner that ran last."""
        self._buffers: dict[tuple[Any, ...], dict[str, np.ndarray]] = {}
        self._runners: dict[tuple[Any, ...], Runner] = {}
        self._recent: dict[str, Runner] = {}

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

    def bound(self, mode: str, inputs: Mapping[str, Any]) -> Runner:
        """Returns the runner for inputs of these sizes and copies them in; without inputs, the runner for the last sizes."""
        runner, last = self._recent.get(mode), self.last
        if inputs:
            if runner is None or not runner.take(inputs):
                arrays = self.arrays(inputs)
                runner = self.runner(mode, self.bind(arrays))
                for name, array in arrays.items():
                    runner.inputs[name][...] = array
        elif runner is not None and runner is last:
            return runner
        else:
            runner = self.runner(mode, self.bind({}) if last is None else last.sizes)
        self.last = self._recent[mode] = runner
        return runner

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
        """Returns the runner of a mode for given sizes of named dimensions."""
        if (mode, sizes) not in self._runners:
            self._runners[mode, sizes] = self._new_runner(mode, sizes)
        return self._runners[mode, sizes]

    def _new_runner(self, mode: str, sizes: tuple[Any, ...]) -> Runner:
        fn = self.functions.sized(mode, dict(sizes))
        buffers = self._buffers.setdefault(sizes, {})
        for leaf in fn.of_role("input"):
            if leaf.name not in buffers:
                spec = fn.specs[leaf.value_id]
                buffers[leaf.name] = aligned(spec.nbytes).view(spec.dtype).reshape(spec.shape)
        runner = Runner(self.lower(fn, buffers), fn, {n: buffers[n] for n in self.inputs}, self.threads, sizes, self.origin)
        runner.results = [(name, runner.array(v)) for name, v in fn.outputs.items()]
        return runner

    def origin(self, name: str) -> str | None:
        """The op of a node of the graph as the user wrote it; None for a node that a composite or the compiler added."""
        op = self.graph.dag.nodes[name]["op"] if name in self.graph.dag else None
        return None if op is None else str(getattr(op, "name", op))

    def lower(self, fn: Function, buffers: Mapping[str, np.ndarray]) -> Program:
        """Lowers a sized function to a program on these arrays and on the state; adds arrays that the state still lacks."""
        for leaf in fn.of_role("parameter"):
            if leaf.name not in buffers and leaf.name not in self.state:
                self.state[leaf.name] = _zeros(leaf)
        return pipeline.lowered(fn, {**self.state, **buffers}, self.threads, self.skip)

    # -- state

    def state_leaves(self) -> dict[str, Leaf]:
        """Returns the leaves of all arrays that training changes, by name, including those that no program has needed yet."""
        if self.optimizer is not None:
            self.functions.of("step")  # adds the optimizer's state to the leaves
        return self.functions.state_leaves()

    def assign(self, arrays: Mapping[str, np.ndarray], source: str) -> None:
        """Copies arrays into the state. *Raises* DataError if names or shapes differ, and then changes nothing."""
        missing = [n for n in self.parameters if n not in arrays]
        if missing:
            raise DataError(f"the file has no parameter {missing[0]!r}", source=source, todo="Load a file saved from this graph.")
        leaves, targets, given = self.state_leaves(), dict(self.state), {}
        for name, array in arrays.items():
            if name not in targets:
                if name not in leaves:
                    raise unknown("parameter", name, self.state).at(source=source)
                targets[name] = _zeros(leaves[name])
            try:
                check_assignable(name, targets[name], array)
                given[name] = converted(array, targets[name].dtype.name, f"parameter {name!r}")
            except DataError as error:
                raise error.at(source=source) from None
        self.state.update(targets)
        for name, array in given.items():
            targets[name][...] = array


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
