"""Executable: a graph made ready to run: forward, gradients and whole training steps, each one native call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from graphexec import pipeline
from graphexec.errors import DataError, GraphExecError, KernelError, did_you_mean
from graphexec.graph.graph import Graph
from graphexec.ir.function import Function, Leaf
from graphexec.ir.spec import shape_text
from graphexec.lower.program import Program, aligned, aligned_array
from graphexec.optim.initializers import initial_value
from graphexec.optim.optimizers import Optimizer
from graphexec.rewrite import skipped
from graphexec.runtime.call import ASK, Call, default_threads
from graphexec.runtime.thread_tuner import STRETCH, ThreadTuner


class Parameters(MutableMapping[str, np.ndarray]):
    """Parameters by name: arrays that the programs read and write. Assigning copies into them."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise unknown("parameter", name, self._arrays)
        return self._arrays[name]

    def __setitem__(self, name: str, value: Any) -> None:
        array, value = self[name], np.asarray(value)
        if value.shape != array.shape or not np.can_cast(value.dtype, array.dtype, "same_kind"):
            raise DataError(
                f"parameter {name!r} does not take this array", facts=[f"parameter {shape_text(array.shape)} {array.dtype}",
                f"given {shape_text(value.shape)} {value.dtype}"], todo="Shapes must be equal.",
            )  # fmt: skip
        array[...] = value

    def __delitem__(self, name: str) -> None:
        raise TypeError("parameters belong to the graph")

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"<parameters {', '.join(f'{n} {a.shape} {a.dtype}' for n, a in self._arrays.items())}>"


def unknown(what: str, name: str, known: Iterable[str]) -> DataError:
    known = list(known)
    hint = did_you_mean(name, known)
    return DataError(
        f"there is no {what} {name!r}" + (f"; {hint}" if hint else ""), todo=f"The {what}s are: {', '.join(known) or 'none'}."
    )


@dataclass
class Runner:
    """A program bound to its input arrays, ready to be called again and again."""

    program: Program
    fn: Function
    inputs: dict[str, np.ndarray]
    threads: int = 1
    sizes: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        self._call = Call(self.program.table)
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


class Executable:
    """What `compile` gives. Programs are lowered at their first use, and again, in milliseconds, for other sizes."""

    def __init__(
        self, graph: Graph, *, loss: str | None, optimizer: Optimizer | None, wrt: list[str] | None, seed: int, threads: int | None,
        keep_deltas: bool, skip: frozenset[str], recompute: Any,
    ) -> None:  # fmt: skip
        self.graph, self.loss, self.optimizer, self.seed = graph, loss, optimizer, seed
        self.threads = default_threads() if threads is None else threads
        self._keep_deltas, self._skip = keep_deltas, skip
        self._functions = pipeline.Functions(graph, loss, wrt, optimizer, keep_deltas=keep_deltas, skip=skip, recompute=recompute)
        self._state: dict[str, np.ndarray] = {}
        for leaf in self._functions.forward.of_kind("parameter"):
            self._state[leaf.name] = aligned_array(self._first_value(leaf))
        self.parameters = Parameters({leaf.name: self._state[leaf.name] for leaf in self._functions.forward.of_kind("parameter")})
        self._inputs: dict[str, Leaf] = {leaf.name: leaf for leaf in self._functions.forward.of_kind("input")}
        self._buffers: dict[tuple[Any, ...], dict[str, np.ndarray]] = {}
        self._runners: dict[tuple[Any, ...], Runner] = {}
        self._last: Runner | None = None
        self._recent: dict[str, Runner] = {}
        self.deltas: Mapping[str, np.ndarray] = {}

    def __repr__(self) -> str:
        return f"<Executable of {self.graph!r}, loss={self.loss!r}, optimizer={self.optimizer!r}>"

    def _first_value(self, leaf: Leaf) -> np.ndarray:
        if leaf.value is not None:
            return np.asarray(leaf.value)
        try:
            return initial_value(leaf.name, leaf.init, tuple(int(n) for n in leaf.shape), leaf.dtype, self.seed)
        except GraphExecError as error:
            raise error.at(node=leaf.name, source=leaf.source) from None

    # -- running

    def __call__(self, **inputs: Any) -> dict[str, np.ndarray]:
        """The forward pass: the graph's outputs by name.

        Inputs are arrays by name; without any, those of the last call are used again. *Raises* DataError for a missing,
        unknown or ill-fitting input, KernelError when a kernel reports an error.
        """
        runner = self._bound("forward", inputs)
        runner.run()
        return {name: array.copy() for name, array in runner.results}

    def gradients(self, **inputs: Any) -> tuple[float, dict[str, np.ndarray]]:
        """The loss, and its gradient with respect to each of ``wrt``, by name."""
        runner = self._bound("gradients", inputs)
        runner.run()
        fn = runner.fn
        assert self.loss is not None
        self.deltas = Deltas(runner) if self._keep_deltas else {}
        return runner.array(fn.outputs[self.loss]).item(), {n: runner.array(v).copy() for n, v in fn.gradients.items()}

    def step(self, **inputs: Any) -> float:
        """One training step, forward, backward and update, in one native call; the loss before the update."""
        runner = self._bound("step", inputs)
        runner.run()
        loss: float = runner.results[0][1].item()  # a step has no other output
        return loss

    @property
    def program(self) -> Program:
        """The program that ran last; before any ran, that of a training step, of gradients, or of the forward pass."""
        if self._last is not None:
            return self._last.program
        kind = "step" if self.optimizer else "gradients" if self.loss else "forward"
        if any(isinstance(n, str) for leaf in self._inputs.values() for n in leaf.shape):
            raise DataError(
                "the program depends on sizes that are not known yet", todo="Run it once on data, or declare sizes as numbers."
            )
        return self._runner(kind, ()).program

    def values(self) -> dict[str, np.ndarray]:
        """Inputs as they were given last, by name."""
        return dict(self._last.inputs) if self._last else {}

    def _bound(self, kind: str, inputs: Mapping[str, Any]) -> Runner:
        """The runner of a kind of program for inputs of these sizes, with the inputs copied in."""
        runner, last = self._recent.get(kind), self._last
        if inputs:
            if runner is None or not runner.take(inputs):
                runner = self._runner(kind, self.bind(inputs))
                for name, array in inputs.items():
                    runner.inputs[name][...] = array
        elif runner is not None and runner is last:
            return runner
        else:
            runner = self._runner(kind, self.bind({}) if last is None else last.sizes)
        self._last = self._recent[kind] = runner
        return runner

    def bind(self, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
        """The sizes of named dimensions that arrays imply. *Raises* DataError when they do not fit the graph."""
        sizes: dict[str, tuple[int, str]] = {}
        for name in inputs:
            if name not in self._inputs:
                raise unknown("input", name, self._inputs)
        for name, leaf in self._inputs.items():
            if name not in inputs:
                raise DataError(
                    f"input {name!r} is missing",
                    facts=[f"{name}: {leaf.dtype}{shape_text(leaf.shape)}"],
                    todo=f"Give {name}=array.",
                )
            check_fits(leaf, np.asarray(inputs[name]), sizes)
        return tuple((n, v) for n, (v, _) in sizes.items())

    def _runner(self, kind: str, sizes: tuple[Any, ...]) -> Runner:
        if (kind, sizes) not in self._runners:
            self._runners[kind, sizes] = self._lowered(kind, sizes)
        return self._runners[kind, sizes]

    def _lowered(self, kind: str, sizes: tuple[Any, ...]) -> Runner:
        fn = self._functions.sized(kind, dict(sizes))
        buffers = self._buffers.setdefault(sizes, {})
        for leaf in fn.of_kind("input"):
            if leaf.name not in buffers:
                spec = fn.specs[leaf.value_id]
                buffers[leaf.name] = aligned(spec.nbytes).view(spec.dtype).reshape(spec.shape)
        for leaf in fn.of_kind("parameter"):
            if leaf.name not in self._state:
                self._state[leaf.name] = aligned_array(np.zeros(tuple(int(n) for n in leaf.shape), leaf.dtype))
        program = pipeline.lowered(fn, self._state | buffers, self.threads, self._skip)
        runner = Runner(program, fn, {n: buffers[n] for n in self._inputs}, self.threads, sizes)
        runner.results = [(name, runner.array(v)) for name, v in fn.outputs.items()]
        return runner

    # -- state

    def state(self) -> dict[str, np.ndarray]:
        """Every array that training changes: parameters, and the optimizer's state as ``<parameter>.<name>``."""
        return {n: a for n, a in self._state.items() if not n.startswith("epoch.")}

    def save(self, path: str | PathLike[str], *, optimizer: bool = False) -> None:
        """Writes the parameters as safetensors; with ``optimizer=True`` its state too."""
        from graphexec.training.checkpoint import save_arrays

        save_arrays(path, self.state() if optimizer else dict(self.parameters))

    def load(self, path: str | PathLike[str]) -> None:
        """Reads parameters, and optimizer state where there is some. *Raises* DataError when names or shapes differ."""
        from graphexec.training.checkpoint import load_arrays

        arrays = load_arrays(path)
        missing = [n for n in self.parameters if n not in arrays]
        if missing:
            raise DataError(f"the file has no parameter {missing[0]!r}", source=str(path), todo="Was it saved from another graph?")
        if self.optimizer is not None:
            self._functions.sized("step", {})  # makes the names of its state known
        for name in arrays:
            if name not in self._state and name not in self._functions.state_names():
                raise unknown("parameter", name, self._state).at(source=str(path))
        for name, array in arrays.items():
            if name in self.parameters:
                try:
                    self.parameters[name] = array
                except DataError as error:
                    raise error.at(source=str(path)) from None
            else:
                self._state.setdefault(name, aligned_array(np.zeros_like(array)))[...] = array

    def fit(
        self, data: Mapping[str, Any], *, epochs: int = 1, batch_size: int | None = None, shuffle: bool = True, **options: Any
    ) -> Any:
        """Trains on arrays; see `graphexec.training.loop.fit`."""
        from graphexec.training.loop import fit

        return fit(self, data, epochs=epochs, batch_size=batch_size, shuffle=shuffle, **options)

    def evaluate(self, data: Mapping[str, Any], metrics: Iterable[str] = (), *, batch_size: int | None = None) -> dict[str, float]:
        """Means of the loss and of metrics over a data set, weighted by rows; see `graphexec.training.loop.evaluate`."""
        from graphexec.training.loop import evaluate

        return evaluate(self, data, metrics, batch_size=batch_size)


class Deltas(Mapping[str, np.ndarray]):
    """δ at each value that the loss depends on, after gradients()."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._runner.fn.deltas:
            raise KeyError(f"no delta reaches {name!r}")
        return self._runner.array(self._runner.fn.deltas[name]).copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._runner.fn.deltas)

    def __len__(self) -> int:
        return len(self._runner.fn.deltas)


def _differing(leaf: Leaf, array: np.ndarray) -> list[str]:
    return [f"declared {leaf.dtype}{shape_text(leaf.shape)}", f"given    {array.dtype}{shape_text(array.shape)}"]


def check_fits(leaf: Leaf, array: np.ndarray, sizes: dict[str, tuple[int, str]]) -> None:
    """*Raises* DataError unless an array fits an input; binds the sizes of its named dimensions."""
    if array.ndim != len(leaf.shape):
        raise DataError(
            f"input {leaf.name!r} has {array.ndim} axes, not {len(leaf.shape)}",
            facts=_differing(leaf, array),
            todo="Reshape the array.",
            source=leaf.source,
        )
    for axis, (n, size) in enumerate(zip(leaf.shape, array.shape, strict=True)):
        if isinstance(n, str):
            known, owner = sizes.setdefault(n, (size, leaf.name))
            if known != size:
                raise DataError(
                    f"dimension {n!r} is {known} in {owner!r} and {size} in {leaf.name!r}",
                    facts=_differing(leaf, array),
                    todo="Inputs that share a dimension must agree.",
                    source=leaf.source,
                )
        elif n != size:
            raise DataError(
                f"input {leaf.name!r} has size {size} on axis {axis}, not {n}",
                facts=_differing(leaf, array),
                todo="Check the array.",
                source=leaf.source,
            )
    if not np.can_cast(array.dtype, leaf.dtype, "same_kind"):
        raise DataError(
            f"input {leaf.name!r} is {array.dtype}, not {leaf.dtype}",
            facts=_differing(leaf, array),
            todo=f"Convert it with .astype({leaf.dtype!r}).",
            source=leaf.source,
        )


def compile(  # noqa: A001 - the name users expect beside gx.differentiate
    graph: Graph, *, loss: Any = None, optimizer: Optimizer | str | None = None, wrt: Iterable[Any] | None = None, seed: int = 0,
    threads: int | None = None, keep_deltas: bool = False, optimize: bool = True, skip_passes: str | Iterable[str] = (),
    recompute: int | str | Iterable[Any] | None = None,
) -> Executable:  # fmt: skip
    """Makes a graph ready to run.

    ``loss`` names a scalar value to differentiate; ``wrt`` what by (default: all trainable parameters);
    ``optimizer`` the update rule, `gx.SGD(lr=0.1)` or ``"sgd(lr=0.1)"``. ``seed`` sets the first values of parameters
    and the order of mini-batches. ``keep_deltas`` keeps δ at every value.

    For debugging, ``optimize=False`` lowers the graph as it stands, and ``skip_passes`` leaves out passes by name:
    ``"fuse"``, or ``("fuse", "cse")``. All names are in `graphexec.rewrite.OPTIONAL`; what is computed does not depend on
    them, but for rounding.

    ``recompute`` trades time for memory: the forward pass is cut into segments, only what one segment reads of another
    is kept for the backward pass, and the rest is computed again. A number of segments of about equal memory, "sqrt" for
    the square root of the number of nodes, or the values (or their names) with which segments end. The gradients are the
    same.

    *Raises* GraphError, ShapeError, DtypeError, OpError, DifferentiationError before anything runs; DataError for an unknown name.
    """
    names = None if wrt is None else [w if isinstance(w, str) else w.name for w in wrt]
    loss = loss if loss is None or isinstance(loss, str) else loss.name
    if isinstance(optimizer, str):
        optimizer = Optimizer.parse(optimizer)
    if optimizer is not None and loss is None:
        raise DataError("an optimizer needs a loss", todo="Give loss=, the name of a scalar value.")
    if recompute is not None and loss is None:
        raise DataError("recompute= needs a loss: without a backward pass nothing is kept", todo="Give loss=, or leave it out.")
    return Executable(
        graph, loss=loss, optimizer=optimizer, wrt=names, seed=seed, threads=threads, keep_deltas=keep_deltas,
        skip=skipped(optimize, skip_passes), recompute=recompute,
    )  # fmt: skip
