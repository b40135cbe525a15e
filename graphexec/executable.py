"""Executable: a compiled graph, whose forward passes, gradients and training steps are one native call each."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from graphexec.compiled import Caller, Compiled
from graphexec.errors import DataError, GraphError
from graphexec.graph.graph import Graph
from graphexec.lower.program import Program
from graphexec.optim.optimizers import Optimizer
from graphexec.rewrite import skipped
from graphexec.runtime.deltas import Deltas
from graphexec.runtime.results import into
from graphexec.runtime.runner import Runner
from graphexec.runtime.state import Parameters
from graphexec.runtime.turns import nested

P = ParamSpec("P")
Result = TypeVar("Result")


def _call_of(mode: str) -> Callable[[Callable[P, Result]], Callable[P, Result]]:
    """Gives a method its body: it takes the inputs, runs the program of a mode and returns the results, in its turn.

    This is `Turns.alone` and `Compiled.bound` written out for the common case: a call takes about a microsecond, and each
    function that it went through would add three percent.
    """

    def decorate(declared: Callable[P, Result]) -> Callable[P, Result]:
        @functools.wraps(declared)
        def call(self: Executable, mapping: Mapping[str, Any] | None = None, /, **named: Any) -> Any:
            if "out" in named:  # a parameter of that name would cost every call three percent
                return self._call_into(mode, mapping, **named)
            inputs = named if mapping is None else given(mapping, named)
            queue, me = self._queue, self._callers.visitor
            if queue and self._turns.is_inside(me):
                raise nested()
            try:
                queue.append(me)
                if queue[0] is not me:
                    self._turns.wait(me)
                compiled = self.compiled
                runner = compiled.recent[mode]
                if runner is None or compiled.caller is not me or not runner.take(inputs):
                    runner = compiled.bound(mode, inputs, me)
                me.last = runner
                if self._keep_deltas and mode == "gradients":
                    self._replace_deltas(runner, me)
                status = runner.enter(1)
                if status:
                    runner.settle(status, 1)
                results = runner.read()
            except BaseException:
                self._turns.abandon(me)
                raise
            queue.popleft()
            if queue:
                self._turns.wake()
            return results

        return cast("Callable[P, Result]", call)

    return decorate


class Executable:
    """A compiled graph, as `compile` returns it.

    Programs are lowered at their first use, and again for other sizes, which takes milliseconds.

    ``parameters`` are the arrays by name that programs read and write.

    Several Python threads may use one executable. Each method, and each assignment to a parameter, has the executable to
    itself until it returns; the others wait in the order in which they came. `fit` lets others in between two epochs. What a
    call leaves behind, the last inputs, `values`, `deltas` and `program`, belongs to the thread that made the call. Only the
    arrays themselves, which `parameters` and `state` return, are not guarded: read and write them while no other thread runs.
    """

    def __init__(self, compiled: Compiled, keep_deltas: bool = False) -> None:
        self.compiled, self._keep_deltas, self._turns = compiled, keep_deltas, compiled.turns
        self._queue, self._callers = self._turns.queue, self._turns.visitors
        self._deltas: Deltas | None = None
        self._shown: list[weakref.ref[Deltas]] = []

    def __repr__(self) -> str:
        return f"<Executable of {self.graph!r}, loss={self.loss!r}, optimizer={self.optimizer!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """What Python's pickle protocol and copies keep: graph, options and state. *Raises* GraphExecError within a call."""
        compiled, turns = self.compiled, self._turns
        if turns.is_inside(turns.visitors.visitor):
            raise nested()
        with turns.alone():
            if not compiled.functions.are_of(compiled.graph):
                what = "the graph has changed since it was compiled, so the executable cannot be copied or sent"
                raise GraphError(what, todo="Compile the graph again.")
            arrays = {name: array.copy() for name, array in compiled.state.items()}
        options = {
            "loss": compiled.loss, "optimizer": compiled.optimizer, "wrt": compiled.functions.wrt, "seed": compiled.seed,
            "threads": compiled.threads_given, "keep_deltas": self._keep_deltas, "skip": compiled.skip,
            "recompute": compiled.functions.recompute, "debug": compiled.debug,
        }  # fmt: skip
        return _compiled_again, (compiled.graph, options, arrays)

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

    @_call_of("forward")
    def __call__(
        self, inputs: Mapping[str, Any] | None = None, /, *, out: Mapping[str, np.ndarray] | None = None, **named: Any
    ) -> dict[str, np.ndarray]:
        """Runs the forward pass and returns the graph's outputs by name.

        Inputs are arrays by name, as keywords or in a mapping, which may hold any name: ``exe({"lambda": array})``. Without any,
        the last inputs are used again. ``out`` gives arrays to write outputs into, by name; they are returned in the place of
        new ones. As in NumPy, such an array has the output's shape and a type of the same kind, in any layout, and it may
        overlap an input. If the call fails, its elements are undefined.

        Arrays from 128 KiB on are not copied if they are C-contiguous and aligned and have the graph's element type: inputs are
        read where they are, and outputs are written straight into ``out``. Do not change them while the call runs. A later call
        without inputs, and `values`, find what such an input holds by then; of other inputs they have a copy. No call writes to
        an input, or to an output that it has returned.

        *Raises* DataError for a missing, unknown or ill-fitting array, KernelError when a kernel reports an error.
        """
        raise NotImplementedError

    @_call_of("gradients")
    def gradients(
        self, inputs: Mapping[str, Any] | None = None, /, *, out: Mapping[str, np.ndarray] | None = None, **named: Any
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Computes the loss, and its gradient with respect to each of ``wrt`` by name; ``out`` gives arrays to write them into."""
        raise NotImplementedError

    @_call_of("step")
    def step(self, inputs: Mapping[str, Any] | None = None, /, **named: Any) -> float:
        """Runs one training step in one native call: forward, backward and update. Returns the loss before the update.

        A step that fails changes neither parameters nor the optimizer's state.
        """
        raise NotImplementedError

    def _call_into(self, mode: str, mapping: Mapping[str, Any] | None, /, out: Any, **named: Any) -> Any:
        """A call with ``out=``, which may also be an input of that name."""
        is_input = mode == "step" or ("out" in self.compiled.inputs and not isinstance(out, Mapping))
        if out is None or is_input:
            calls: dict[str, Callable[..., Any]] = {"forward": self, "gradients": self.gradients, "step": self.step}
            return calls[mode](given(mapping, {**named, "out": out} if is_input else named))
        inputs = named if mapping is None else given(mapping, named)
        if self._turns.is_inside(self._callers.visitor):
            raise nested()
        with self._turns.alone() as me:
            compiled, runner = self.compiled, self.compiled.recent[mode]
            try:
                if runner is None or compiled.caller is not me or not (runner.aim(out) and runner.take(inputs)):
                    runner = compiled.bound(mode, inputs, me, out)
                me.last = runner
                if self._keep_deltas and mode == "gradients":
                    self._replace_deltas(runner, me)
                status = runner.enter(1)
                if status:
                    runner.settle(status, 1)
                results = runner.read()
            except BaseException:
                compiled.forget_targets()
                raise
            into(results if mode == "forward" else results[1], out)
            return results

    def _replace_deltas(self, runner: Runner, me: Caller) -> None:
        """Before a run: what still shows the deltas of earlier runs takes copies of them."""
        me.deltas = self._deltas = None
        for known in self._shown:
            deltas = known()
            if deltas is not None:
                deltas.copy_from(runner)
        self._deltas = me.deltas = Deltas(runner, self._turns)
        self._shown = [known for known in self._shown if known() is not None]
        self._shown.append(weakref.ref(self._deltas))

    @property
    def deltas(self) -> Mapping[str, np.ndarray]:
        """With ``keep_deltas=True``, δ at every value on which the loss depends, of this thread's last :meth:`gradients`.

        A thread that has made no such call sees those of the last call of any thread. They stay as they are when the program
        runs again.
        """
        me = self._turns.visitors.visitor
        found = self._deltas if me.deltas is None else me.deltas
        return {} if found is None else found

    @property
    def program(self) -> Program:
        """The program that ran last; before the first run, the program of the most comprehensive mode available."""
        with self._turns.alone() as me:
            last = me.last or self.compiled.last
            if last is not None:
                return last.program
            if any(isinstance(n, str) for leaf in self.compiled.inputs.values() for n in leaf.shape):
                raise DataError(
                    "the program depends on sizes that are not known yet", todo="Run it once on data, or declare sizes as numbers."
                )
            return self.compiled.runner(self.compiled.mode, ()).program

    def values(self) -> dict[str, np.ndarray]:
        """Returns copies of the last inputs by name; of those that were not copied for the call, with what they hold now."""
        with self._turns.alone() as me:
            if me.last is None and self.compiled.last is None:
                return {}
            return {name: array.copy() for name, array in self.compiled.last_inputs(me)[1].items()}

    # -- state

    def state(self) -> dict[str, np.ndarray]:
        """Returns all arrays that training changes: parameters, and the optimizer's state as ``<parameter>.<name>``."""
        return dict(self.compiled.state)

    def save(self, path: str | PathLike[str], *, optimizer: bool = False) -> None:
        """Writes the parameters as safetensors; with ``optimizer=True`` also the optimizer's state."""
        from graphexec.training.checkpoint import save_arrays  # here and below: only training programs need it

        with self._turns.alone():
            save_arrays(path, self.state() if optimizer else dict(self.parameters))

    def load(self, path: str | PathLike[str]) -> None:
        """Reads parameters, and the optimizer's state if the file has it.

        *Raises* DataError if a name is missing or unknown, or an array does not fit; then nothing has changed.
        """
        from graphexec.training.checkpoint import load_arrays

        arrays = load_arrays(path)
        with self._turns.alone():
            self.compiled.assign(arrays, str(path))

    # -- training

    def fit(
        self, data: Mapping[str, Any], *, epochs: int = 1, batch_size: int | None = None, shuffle: bool = True, **options: Any
    ) -> list[dict[str, Any]]:
        """Trains on arrays; see `graphexec.training.loop.fit`."""
        from graphexec.training import loop

        return loop.fit(self.compiled, data, epochs=epochs, batch_size=batch_size, shuffle=shuffle, **options)

    def evaluate(self, data: Mapping[str, Any], metrics: Iterable[str] = (), *, batch_size: int | None = None) -> dict[str, float]:
        """Computes the loss and metrics, as of all rows at once, over a data set; see `graphexec.training.loop.evaluate`."""
        from graphexec.training import loop

        with self._turns.alone():
            return loop.evaluate(self.compiled, data, metrics, batch_size=batch_size)


def _compiled_again(graph: Graph, options: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Executable:
    compiled = Compiled(graph, **options)
    compiled.assign(arrays, "the executable that was sent")
    return Executable(compiled, options["keep_deltas"])


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


def compile(  # noqa: A001 - the name users expect beside gx.differentiate
    graph: Graph, *, loss: Any = None, optimizer: Optimizer | str | None = None, wrt: Iterable[Any] | None = None, seed: int = 0,
    threads: int | None = None, keep_deltas: bool = False, optimize: bool = True, skip_passes: str | Iterable[str] = (),
    recompute: int | str | Iterable[Any] | None = None, debug: bool = False,
) -> Executable:  # fmt: skip
    """Compiles a graph.

    ``loss`` is the name of the scalar value to differentiate, ``wrt`` the names of the values to differentiate with respect to
    (default: all trainable parameters), and ``optimizer`` the update rule: `gx.SGD(lr=0.1)` or ``"sgd(lr=0.1)"``. ``seed``
    determines the initial parameters and the order of mini-batches. ``keep_deltas`` keeps δ at every value.

    ``debug=True`` looks for faults of array kernels, slowly: each runs alone, with checked indices, over memory that is filled
    with NaN or -1 before. An index out of range, an unwritten element of an output, a result that depends on memory that was not
    written, and a changed operand are KernelErrors that name op and node. Results are otherwise the same.

    To find the pass that causes a wrong result, ``optimize=False`` lowers the graph without optional passes, and
    ``skip_passes`` leaves out passes by name: ``"fuse"``, or ``("fuse", "cse")``. All names are in
    `graphexec.rewrite.OPTIONAL`; apart from rounding, the results do not depend on them.

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
        skip=skipped(optimize, skip_passes), recompute=recompute, debug=debug,
    )  # fmt: skip
    return Executable(compiled, keep_deltas)
