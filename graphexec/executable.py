"""Executable: a graph made ready to run: forward, gradients and whole training steps, each one native call."""

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
from graphexec.training import loop
from graphexec.training.checkpoint import load_arrays, save_arrays


class Executable:
    """What `compile` gives. Programs are lowered at their first use, and again, in milliseconds, for other sizes.

    ``parameters`` are arrays by name that the programs read and write; ``deltas``, after :meth:`gradients` and with
    ``keep_deltas=True``, has δ at every value that the loss depends on.
    """

    def __init__(self, compiled: Compiled, keep_deltas: bool = False) -> None:
        self.compiled, self._keep_deltas = compiled, keep_deltas
        self.deltas: Mapping[str, np.ndarray] = {}

    def __repr__(self) -> str:
        return f"<Executable of {self.graph!r}, loss={self.loss!r}, optimizer={self.optimizer!r}>"

    @property
    def graph(self) -> Graph:
        return self.compiled.graph

    @property
    def loss(self) -> str | None:
        """The name of the value that is differentiated."""
        return self.compiled.loss

    @property
    def optimizer(self) -> Optimizer | None:
        return self.compiled.optimizer

    @property
    def seed(self) -> int:
        return self.compiled.seed

    @property
    def threads(self) -> int:
        return self.compiled.threads

    @property
    def parameters(self) -> Parameters:
        """Parameters by name: arrays that the programs read and write. Assigning copies into them."""
        return self.compiled.parameters

    # -- running

    def __call__(self, **inputs: Any) -> dict[str, np.ndarray]:
        """The forward pass: the graph's outputs by name.

        Inputs are arrays by name; without any, those of the last call are used again. *Raises* DataError for a missing,
        unknown or ill-fitting input, KernelError when a kernel reports an error.
        """
        runner = self.compiled.bound("forward", inputs)
        runner.run()
        return {name: array.copy() for name, array in runner.results}

    def gradients(self, **inputs: Any) -> tuple[float, dict[str, np.ndarray]]:
        """The loss, and its gradient with respect to each of ``wrt``, by name."""
        runner = self.compiled.bound("gradients", inputs)
        runner.run()
        fn = runner.fn
        assert self.loss is not None
        self.deltas = Deltas(runner) if self._keep_deltas else {}
        return runner.array(fn.outputs[self.loss]).item(), {n: runner.array(v).copy() for n, v in fn.gradients.items()}

    def step(self, **inputs: Any) -> float:
        """One training step, forward, backward and update, in one native call; the loss before the update."""
        runner = self.compiled.bound("step", inputs)
        runner.run()
        loss: float = runner.results[0][1].item()  # a step has no other output
        return loss

    @property
    def program(self) -> Program:
        """The program that ran last; before any ran, that of a training step, of gradients, or of the forward pass."""
        if self.compiled.last is not None:
            return self.compiled.last.program
        if any(isinstance(n, str) for leaf in self.compiled.inputs.values() for n in leaf.shape):
            raise DataError(
                "the program depends on sizes that are not known yet", todo="Run it once on data, or declare sizes as numbers."
            )
        return self.compiled.runner(self.compiled.mode, ()).program

    def values(self) -> dict[str, np.ndarray]:
        """Inputs as they were given last, by name."""
        return dict(self.compiled.last.inputs) if self.compiled.last else {}

    # -- state

    def state(self) -> dict[str, np.ndarray]:
        """Every array that training changes: parameters, and the optimizer's state as ``<parameter>.<name>``."""
        return dict(self.compiled.state)

    def save(self, path: str | PathLike[str], *, optimizer: bool = False) -> None:
        """Writes the parameters as safetensors; with ``optimizer=True`` its state too."""
        save_arrays(path, self.state() if optimizer else dict(self.parameters))

    def load(self, path: str | PathLike[str]) -> None:
        """Reads parameters, and optimizer state where there is some. *Raises* DataError when names or shapes differ."""
        self.compiled.assign(load_arrays(path), str(path))

    # -- training

    def fit(
        self, data: Mapping[str, Any], *, epochs: int = 1, batch_size: int | None = None, shuffle: bool = True, **options: Any
    ) -> list[dict[str, Any]]:
        """Trains on arrays; see `graphexec.training.loop.fit`."""
        return loop.fit(self.compiled, data, epochs=epochs, batch_size=batch_size, shuffle=shuffle, **options)

    def evaluate(self, data: Mapping[str, Any], metrics: Iterable[str] = (), *, batch_size: int | None = None) -> dict[str, float]:
        """Means of the loss and of metrics over a data set, weighted by rows; see `graphexec.training.loop.evaluate`."""
        return loop.evaluate(self.compiled, data, metrics, batch_size=batch_size)


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
    compiled = Compiled(
        graph, loss=loss, optimizer=optimizer, wrt=names, seed=seed, threads=threads, keep_deltas=keep_deltas,
        skip=skipped(optimize, skip_passes), recompute=recompute,
    )  # fmt: skip
    return Executable(compiled, keep_deltas)
