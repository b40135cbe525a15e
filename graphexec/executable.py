"""Executable: a compiled graph, whose forward passes, gradients and training steps are one native call each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import Any

import numpy as np

from graphexec.compiled import Compiled, Parameters
from graphexec.errors import DataError
from graphexec.graph.graph import Graph
from graphexec.lower.program import Program
from graphexec.optim.optimizers import Optimizer
from graphexec.rewrite import skipped
from graphexec.runtime.runner import Runner


class Executable:
    """A compiled graph, as `compile` returns it.

    Programs are lowered at their first use, and again for other sizes, which takes milliseconds.

    ``parameters`` are the arrays by name that programs read and write. After :meth:`gradients` with ``keep_deltas=True``,
    ``deltas`` holds δ at every value on which the loss depends.
    """

    def __init__(self, compiled: Compiled, keep_deltas: bool = False) -> None:
        self.compiled, self._keep_deltas = compiled, keep_deltas
        self.deltas: Mapping[str, np.ndarray] = {}

    def __repr__(self) -> str:
        return f"<Executable of {self.graph!r}, loss={self.loss!r}, optimizer={self.optimizer!r}>"

    @property
    def graph(self) -> Graph:
        """The graph that was compiled."""
        return self.compiled.graph

    @property
    def loss(self) -> str | None:
        """The name of the value that is differentiated."""
        return self.compiled.loss

    @property
    def optimizer(self) -> Optimizer | None:
        """The update rule of `step` and `fit`."""
        return self.compiled.optimizer

    @property
    def seed(self) -> int:
        """The seed of the initial parameters and the order of mini-batches."""
        return self.compiled.seed

    @property
    def threads(self) -> int:
        """The maximum number of threads that a program runs on."""
        return self.compiled.threads

    @property
    def parameters(self) -> Parameters:
        """Parameters by name: the arrays that programs read and write. Assignment copies into them."""
        return self.compiled.parameters

    # -- running

    def __call__(self, inputs: Mapping[str, Any] | None = None, /, **named: Any) -> dict[str, np.ndarray]:
        """Runs the forward pass and returns the graph's outputs by name.

        Inputs are arrays by name, as keywords or in a mapping, which may hold any name: ``exe({"lambda": array})``. Without any,
        the last inputs are used again. *Raises* DataError for a missing,
        unknown or ill-fitting input, KernelError when a kernel reports an error.
        """
        runner = self.compiled.bound("forward", given(inputs, named))
        runner.run()
        return {name: array.copy() for name, array in runner.results}

    def gradients(self, inputs: Mapping[str, Any] | None = None, /, **named: Any) -> tuple[float, dict[str, np.ndarray]]:
        """Computes the loss, and its gradient with respect to each of ``wrt`` by name."""
        runner = self.compiled.bound("gradients", given(inputs, named))
        runner.run()
        fn = runner.fn
        assert self.loss is not None
        self.deltas = Deltas(runner) if self._keep_deltas else {}
        return runner.array(fn.outputs[self.loss]).item(), {n: runner.array(v).copy() for n, v in fn.gradients.items()}

    def step(self, inputs: Mapping[str, Any] | None = None, /, **named: Any) -> float:
        """Runs one training step in one native call: forward, backward and update. Returns the loss before the update."""
        runner = self.compiled.bound("step", given(inputs, named))
        runner.run()
        loss: float = runner.results[0][1].item()  # a step has no other output
        return loss

    @property
    def program(self) -> Program:
        """The program that ran last; before the first run, the program of the most comprehensive mode available."""
        if self.compiled.last is not None:
            return self.compiled.last.program
        if any(isinstance(n, str) for leaf in self.compiled.inputs.values() for n in leaf.shape):
            raise DataError(
                "the program depends on sizes that are not known yet", todo="Run it once on data, or declare sizes as numbers."
            )
        return self.compiled.runner(self.compiled.mode, ()).program

    def values(self) -> dict[str, np.ndarray]:
        """Returns the last inputs by name."""
        return dict(self.compiled.last.inputs) if self.compiled.last else {}

    # -- state

    def state(self) -> dict[str, np.ndarray]:
        """Returns all arrays that training changes: parameters, and the optimizer's state as ``<parameter>.<name>``."""
        return dict(self.compiled.state)

    def save(self, path: str | PathLike[str], *, optimizer: bool = False) -> None:
        """Writes the parameters as safetensors; with ``optimizer=True`` also the optimizer's state."""
        from graphexec.training.checkpoint import save_arrays  # here and below: only training programs need it

        save_arrays(path, self.state() if optimizer else dict(self.parameters))

    def load(self, path: str | PathLike[str]) -> None:
        """Reads parameters, and the optimizer's state if the file has it. *Raises* DataError if names or shapes differ."""
        from graphexec.training.checkpoint import load_arrays

        self.compiled.assign(load_arrays(path), str(path))

    # -- training

    def fit(
        self, data: Mapping[str, Any], *, epochs: int = 1, batch_size: int | None = None, shuffle: bool = True, **options: Any
    ) -> list[dict[str, Any]]:
        """Trains on arrays; see `graphexec.training.loop.fit`."""
        from graphexec.training import loop

        return loop.fit(self.compiled, data, epochs=epochs, batch_size=batch_size, shuffle=shuffle, **options)

    def evaluate(self, data: Mapping[str, Any], metrics: Iterable[str] = (), *, batch_size: int | None = None) -> dict[str, float]:
        """Computes the loss and metrics over a data set, as means weighted by rows; see `graphexec.training.loop.evaluate`."""
        from graphexec.training import loop

        return loop.evaluate(self.compiled, data, metrics, batch_size=batch_size)


def given(inputs: Mapping[str, Any] | None, named: dict[str, Any]) -> Mapping[str, Any]:
    """The inputs of a call, from a mapping and from keywords. *Raises* DataError for an array without a name, or given twice."""
    if inputs is None:
        return named
    if not isinstance(inputs, Mapping):
        raise DataError(
            f"an input is given without its name: {type(inputs).__name__}", todo='Call exe(x=array), or exe({"x": array}).'
        )
    twice = sorted(inputs.keys() & named.keys())
    if twice:
        raise DataError(f"input {twice[0]!r} is given twice", todo="Give it in the mapping or as a keyword.")
    return {**inputs, **named} if named else inputs


class Deltas(Mapping[str, np.ndarray]):
    """δ at each value on which the loss depends, after gradients()."""

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


def compile(  # noqa: A001 - the name users expect beside gx.differentiate
    graph: Graph, *, loss: Any = None, optimizer: Optimizer | str | None = None, wrt: Iterable[Any] | None = None, seed: int = 0,
    threads: int | None = None, keep_deltas: bool = False, optimize: bool = True, skip_passes: str | Iterable[str] = (),
    recompute: int | str | Iterable[Any] | None = None,
) -> Executable:  # fmt: skip
    """Compiles a graph.

    ``loss`` is the name of the scalar value to differentiate, ``wrt`` the names of the values to differentiate with respect to
    (default: all trainable parameters), and ``optimizer`` the update rule: `gx.SGD(lr=0.1)` or ``"sgd(lr=0.1)"``. ``seed``
    determines the initial parameters and the order of mini-batches. ``keep_deltas`` keeps δ at every value.

    For debugging, ``optimize=False`` lowers the graph without optional passes, and ``skip_passes`` leaves out passes by name:
    ``"fuse"``, or ``("fuse", "cse")``. All names are in `graphexec.rewrite.OPTIONAL`; apart from rounding, the results do not
    depend on them.

    ``recompute`` trades time for memory. It cuts the forward pass into segments; only values that another segment reads are
    kept for the backward pass, and the others are computed again. Give a number of segments of about equal memory, "sqrt" for
    the square root of the number of nodes, or the values (or their names) that end segments. The gradients do not change.

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
    compiled = Compiled(
        graph, loss=loss, optimizer=optimizer, wrt=names, seed=seed, threads=threads, keep_deltas=keep_deltas,
        skip=skipped(optimize, skip_passes), recompute=recompute,
    )  # fmt: skip
    return Executable(compiled, keep_deltas)
