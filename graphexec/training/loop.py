"""fit and evaluate: an epoch of mini-batches is one native call.

Instructions select the rows of the next mini-batch (`take_batch`) and add up the loss. Together with them, the program of a
training step runs once for each whole batch, and a second program runs once on the remaining rows. The loop counts its runs,
which shows progress; a flag stops it between steps.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import Any

import numpy as np

from graphexec import pipeline
from graphexec.compiled import Compiled
from graphexec.errors import DataError, KernelError
from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import Function, Node
from graphexec.ir.infer import infer
from graphexec.ir.registry import registry
from graphexec.ir.spec import Size, Sizes, shape_text
from graphexec.runtime.runner import Runner
from graphexec.training.failed_batch import located

MIN_BACKGROUND_SECONDS = 0.02
"""Epochs expected to be shorter run in the calling thread, where Ctrl-C takes effect when they end."""

Entry = dict[str, Any]


def fit(
    compiled: Compiled, data: Mapping[str, Any], *, epochs: int = 1, batch_size: int | None = None, shuffle: bool = True,
    validation: Mapping[str, Any] | None = None, metrics: Mapping[str, str] | None = None, progress: bool | None = None,
    on_epoch: Callable[[Entry], None] | None = None, start_epoch: int = 0,
) -> list[Entry]:  # fmt: skip
    """Trains on arrays by input name; returns one entry for each epoch.

    An entry holds ``epoch`` (from 1), ``loss`` (the mean of the batches' losses before their updates, weighted by rows),
    ``seconds``, and ``held_out`` with the loss and ``metrics`` (name: value of the graph) of ``validation``. Epoch e
    shuffles by (seed, e), so that training resumed from ``start_epoch`` repeats an uninterrupted run. The last batch of an
    epoch may be smaller. ``progress`` shows a bar; the default is to show one if standard error is a terminal.

    *Raises* DataError when arrays do not fit, KernelError when a kernel reports an error: it names the epoch, the batch and, if
    one row alone is to blame, the row, and the state is that before the failed step. Ctrl-C stops after the current step, so
    every array is consistent. Other threads' calls come in between two epochs.
    """
    if epochs < 0 or (batch_size is not None and batch_size < 1):
        raise DataError(f"epochs={epochs} must be at least 0 and batch_size={batch_size} at least 1")
    bar = (sys.stderr is not None and sys.stderr.isatty()) if progress is None else progress
    loss = {} if compiled.loss is None else {"loss": compiled.loss}
    with compiled.turns.alone():
        passes = Passes(compiled, data, "step", loss, batch_size, shuffle=shuffle)
        held_out = None if validation is None else Passes(compiled, validation, "evaluate", _wanted(compiled, metrics), batch_size)
    history: list[Entry] = []
    with Watch(bar, epochs * passes.steps, compiled.graph.name) as watch:
        for epoch in range(start_epoch + 1, start_epoch + epochs + 1):
            begin = time.perf_counter()
            with compiled.turns.alone():
                entry: Entry = {"epoch": epoch, **passes.run(epoch, watch)}
                if held_out is not None:
                    entry["held_out"] = held_out.run()
            entry["seconds"] = time.perf_counter() - begin
            history.append(entry)
            watch.describe(entry)
            if on_epoch is not None:
                on_epoch(entry)
    return history


def evaluate(
    compiled: Compiled, data: Mapping[str, Any], metrics: Mapping[str, str] | Iterable[str] = (), *, batch_size: int | None = None
) -> dict[str, float]:
    """Computes the loss and metrics over a data set: means of the batches' values, weighted by rows. Updates nothing."""
    return Passes(compiled, data, "evaluate", _wanted(compiled, metrics), batch_size).run()


def _wanted(compiled: Compiled, metrics: Mapping[str, str] | Iterable[str] | None) -> dict[str, str]:
    named = dict(metrics) if isinstance(metrics, Mapping) else {m: m for m in metrics or ()}
    return ({"loss": compiled.loss} if compiled.loss is not None else {}) | named


class Passes:
    """Passes over a data set: the programs for whole batches and for the remaining rows."""

    def __init__(
        self, compiled: Compiled, data: Mapping[str, Any], mode: str, wanted: Mapping[str, str], batch_size: int | None,
        shuffle: bool = False,
    ) -> None:  # fmt: skip
        self.compiled, self.wanted = compiled, dict(wanted)
        self.dimension, self.rows, self.arrays = _rows(compiled, data)
        self.batch = batch = self.rows if batch_size is None else min(batch_size, self.rows)
        self.whole, rest = divmod(self.rows, batch) if batch else (0, 0)
        self.steps = self.whole + (rest > 0)
        self.permutation, self.key = np.arange(self.rows, dtype=np.int64), np.zeros(2, np.int64)
        self._shuffler = self._shuffling() if shuffle else None
        self.cursor = np.zeros((), np.int64)
        self.totals = {name: np.zeros((), np.float64) for name in self.wanted}
        self.runners = [(self._runner(mode, batch), self.whole)] if self.whole else []
        if rest:
            self.runners.append((self._runner(mode, rest), 1))

    def run(self, epoch: int = 0, watch: Watch | None = None) -> dict[str, float]:
        """Runs one pass over the data, shuffled by the seed and the epoch number; returns the means by name."""
        if self._shuffler is not None:
            self.key[...] = np.array([self.compiled.seed % 2**64, epoch], np.uint64).view(np.int64)
            self._shuffler.run()
        self.cursor[...] = 0
        for total in self.totals.values():
            total[...] = 0.0
        for runner, times in self.runners:
            try:
                if watch is None:
                    runner.progress[1] = 0
                    runner.run(times)
                else:
                    watch.run(runner, times)
            except KernelError as error:
                raise located(error, self, runner, epoch) from None
        return {name: float(total) / self.rows if self.rows else float("nan") for name, total in self.totals.items()}

    def _shuffling(self) -> Runner:
        """Returns the program that draws a permutation of the rows; see the op `shuffle`."""
        nothing = Function("shuffle", [], [], [], {})
        builder = FunctionBuilder(nothing)
        permutation = builder.leaf("epoch.order", "parameter", self.permutation.shape, "int64")
        key = builder.leaf("epoch.key", "parameter", self.key.shape, "int64")
        builder.add(registry.get("shuffle"), (permutation, key), {}, "epoch.shuffle")
        fn = infer(builder.build(nothing), Sizes({}))
        return Runner(pipeline.lowered(fn, {"epoch.order": self.permutation, "epoch.key": self.key}, 1), fn, {}, 1)

    def _runner(self, mode: str, batch: int) -> Runner:
        fn = self._function(mode, batch)
        fixed: dict[str, np.ndarray] = {"epoch.order": self.permutation, "epoch.cursor": self.cursor}
        fixed |= {f"epoch.total.{n}": t for n, t in self.totals.items()}
        program = self.compiled.lower(fn, self.arrays | fixed)
        return Runner(program, fn, {}, self.compiled.threads, origin=self.compiled.origin)

    def _function(self, mode: str, batch: int) -> Function:
        """Builds the function of a step or an evaluation that takes inputs from the data and adds up the wanted values."""
        base = _evaluation(self.compiled, self.wanted) if mode == "evaluate" else self.compiled.functions.of(mode)
        nodes, moved = _take_nodes(base, self.arrays, self.dimension, batch)
        builder = FunctionBuilder(moved)
        builder.nodes = nodes + list(base.nodes)
        cursor = next((leaf.value_id for leaf in moved.leaves if leaf.name == "epoch.cursor"), None)
        for name, value in self.wanted.items():
            total = builder.leaf(f"epoch.total.{name}", "parameter", (), "float64")
            source = base.outputs[value]
            builder.add(registry.get("accumulate"), (total, source), {"weight": float(batch)}, f"epoch.{name}")
        if cursor is not None:
            builder.add(registry.get("advance"), (cursor,), {"by": batch}, "epoch.next")
        fn = builder.build(moved)
        sizes = {n: int(s) for n, s in _sizes(self.compiled, self.arrays).items()}
        if self.dimension is not None:
            sizes[self.dimension] = batch
        return infer(fn, Sizes(sizes))


def _evaluation(compiled: Compiled, wanted: Mapping[str, str]) -> Function:
    forward = compiled.functions.forward
    outputs = {name: forward.value_id(name) for name in wanted.values()}
    for name, value in outputs.items():
        if forward.specs[value].shape != ():
            raise DataError(f"metric {name!r} is {forward.specs[value]}, not a scalar", todo="Reduce it with mean().")
    return compiled.functions.finish(forward.with_nodes(forward.nodes, outputs=outputs))


def _rows(compiled: Compiled, data: Mapping[str, Any]) -> tuple[str | None, int, dict[str, np.ndarray]]:
    """Returns the dimension split into mini-batches, the number of rows, and the arrays in the form that programs read."""
    given = compiled.arrays(data)
    compiled.bind(given)  # raises if an input is missing or does not fit
    leading = {leaf.shape[0] for leaf in compiled.inputs.values() if leaf.shape and isinstance(leaf.shape[0], str)}
    if len(leading) > 1:
        raise DataError(
            f"inputs have different leading dimensions: {', '.join(map(repr, sorted(leading)))}",
            facts=[f"{n}{shape_text(leaf.shape)}" for n, leaf in compiled.inputs.items()],
            todo="Give the axis of samples the same name in every input.",
        )
    arrays, rows = {}, 1
    for name, leaf in compiled.inputs.items():
        array = given[name]
        if not (array.flags.c_contiguous and array.flags.aligned):
            array = np.array(array, order="C")
        batched = bool(leaf.shape) and leaf.shape[0] in leading
        arrays[f"epoch.data.{name}" if batched else name] = array
        rows = array.shape[0] if batched else rows
    return (next(iter(leading)) if leading else None), rows, arrays


def _sizes(compiled: Compiled, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    sizes = {}
    for name, leaf in compiled.inputs.items():
        array = arrays.get(f"epoch.data.{name}", arrays.get(name))
        assert array is not None
        sizes.update({n: s for n, s in zip(leaf.shape, array.shape, strict=True) if isinstance(n, str)})
    return sizes


def _take_nodes(base: Function, arrays: Mapping[str, np.ndarray], dimension: str | None, batch: int) -> tuple[list[Node], Function]:
    """Returns nodes that copy a batch of the data into the inputs, and the function whose leaves are the data instead."""
    builder = FunctionBuilder(base)
    builder.leaves = []
    nodes: list[Node] = []
    taken = [leaf for leaf in base.leaves if leaf.role == "input" and f"epoch.data.{leaf.name}" in arrays]
    rest = [leaf for leaf in base.leaves if leaf not in taken]
    if taken:
        rows = arrays[f"epoch.data.{taken[0].name}"].shape[0]
        permutation = builder.leaf("epoch.order", "parameter", (rows,), "int64")
        cursor = builder.leaf("epoch.cursor", "parameter", (), "int64")
        op = registry.get("take_batch")
    for leaf in taken:
        data = arrays[f"epoch.data.{leaf.name}"]
        source = builder.leaf(f"epoch.data.{leaf.name}", "parameter", data.shape, leaf.dtype)
        attributes = {"batch": Size(batch, dimension or "batch")}
        nodes.append(Node(leaf.name, op, (source, permutation, cursor), (leaf.value_id,), attributes))
    return nodes, base.with_nodes(base.nodes, leaves=[*rest, *builder.leaves], names=builder.names, specs=builder.specs)


class Watch:
    """Runs epochs, shows progress and handles Ctrl-C."""

    def __init__(self, bar: bool, steps: int, name: str) -> None:
        self._bar: Any = None
        self._step = 0.0  # seconds; 0 until measured
        self._before = self._shown = 0
        self.background: ThreadPoolExecutor | None = None
        if bar:
            from tqdm import tqdm

            self._bar = tqdm(total=steps, desc=name, unit="step", leave=False, file=sys.stderr, dynamic_ncols=True)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.background is not None:
            self.background.shutdown()
        if self._bar is not None:
            self._bar.close()

    def describe(self, entry: Entry) -> None:
        """Shows an epoch's number and loss beside the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"epoch {entry['epoch']}, loss {entry.get('loss', float('nan')):.4g}", refresh=False)

    def run(self, runner: Runner, times: int) -> None:
        """Runs a program a number of times, in another thread if that takes long."""
        runner.progress[:] = 0
        self._before = self._shown = 0
        known = self._step > 0 or times < 3
        for count in (times,) if known else (1, 1, times - 2):  # the first step is slow, the second is timed
            begin = time.perf_counter()
            if self._step * count < MIN_BACKGROUND_SECONDS:
                runner.run(count)
            else:
                self._run_beside(runner, count)
            self._step = (time.perf_counter() - begin) / count
            self._before += count
        self._show(times)

    def _run_beside(self, runner: Runner, times: int) -> None:
        """Makes the native call in another thread, so that this one can handle signals and update the bar."""
        self.background = self.background or ThreadPoolExecutor(1, "graphexec-fit")
        future: Future[None] = self.background.submit(runner.run, times)
        try:
            while True:
                try:
                    future.result(timeout=0.1)
                    return
                except NotYet:
                    self._show(self._before + runner.done)
        except KeyboardInterrupt:
            runner.progress[1] = 1
            future.result()
            raise

    def _show(self, done: int) -> None:
        if self._bar is not None and done > self._shown:
            self._bar.update(done - self._shown)
            self._shown = done
