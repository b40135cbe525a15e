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
from graphexec.ir.function import Function
from graphexec.ir.infer import infer
from graphexec.ir.registry import registry
from graphexec.ir.spec import Sizes
from graphexec.progress import showing
from graphexec.runtime.runner import Runner
from graphexec.training.batches import Batches
from graphexec.training.divergence import STEPS, LastFinite, keep_finite, stop_at_loss
from graphexec.training.evaluation import Evaluation
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
    one row alone is to blame, the row, and the state is that before the failed step. *Raises* DivergenceError when a loss is
    NaN or infinite, or when an epoch leaves a parameter so; parameters and optimizer are then as after an earlier epoch that
    left them finite, or as before training: with ``on_epoch``, as after the last one, without, up to 64 steps earlier. Ctrl-C
    stops after the current step, so every array is consistent. Other threads' calls come in between two epochs.
    """
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 0:
        raise DataError(f"epochs={epochs!r} is not a whole number from 0", todo="Give the number of passes over the data.")
    bar = (sys.stderr is not None and sys.stderr.isatty()) if progress is None else progress
    with showing(bar), compiled.turns.alone():
        passes = Passes(compiled, data, batch_size, shuffle=shuffle)
        held_out = None if validation is None else Evaluation(Batches(compiled, validation, batch_size), _wanted(compiled, metrics))
        kept, end = LastFinite(compiled.state, start_epoch), start_epoch + epochs
    history: list[Entry] = []
    every = -(-STEPS // passes.steps) if on_epoch is None else 1
    with Watch(bar, epochs * passes.steps, compiled.graph.name) as watch:
        for epoch in range(start_epoch + 1, end + 1):
            begin = time.perf_counter()
            with compiled.turns.alone():
                entry: Entry = {"epoch": epoch, **passes.run(epoch, watch, kept)}
                if epoch == end or (epoch - start_epoch) % every == 0:
                    keep_finite(kept, passes.batches, epoch)
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
    """Computes the loss and metrics over a data set: their values on all rows at once, whatever the batches. Updates nothing.

    See `graphexec.training.evaluation`. *Raises* DataError when arrays do not fit, KernelError when a kernel reports an error.
    """
    return Evaluation(Batches(compiled, data, batch_size), _wanted(compiled, metrics)).run()


def _wanted(compiled: Compiled, metrics: Mapping[str, str] | Iterable[str] | None) -> dict[str, str]:
    named = dict(metrics) if isinstance(metrics, Mapping) else {m: m for m in metrics or ()}
    if compiled.loss is not None and named.setdefault("loss", compiled.loss) != compiled.loss:
        raise DataError(
            f"a metric called 'loss' shows {named['loss']!r}, and the loss is {compiled.loss!r}",
            todo="Give the metric another name.",
        )
    return {"loss": compiled.loss, **named} if compiled.loss is not None else named


class Passes:
    """Training passes over a data set: the programs of a step for whole batches and for the remaining rows."""

    def __init__(self, compiled: Compiled, data: Mapping[str, Any], batch_size: int | None, shuffle: bool = False) -> None:
        self.compiled, self.batches = compiled, Batches(compiled, data, batch_size)
        self.permutation, self.key = np.arange(self.batches.rows, dtype=np.int64), np.zeros(2, np.int64)
        self._shuffler = self._shuffling() if shuffle else None
        self._check = ""
        """The name of the node that checks the loss."""
        self.total = np.zeros(2, np.float64)
        """The sum of the losses weighted by rows, and what its rounding lost."""
        self.runners = self.batches.runners(compiled.functions.of("step"), {"epoch.total": self.total}, self._add_up)

    @property
    def steps(self) -> int:
        """The number of steps of a pass."""
        return self.batches.steps

    def run(self, epoch: int, watch: Watch, kept: LastFinite) -> dict[str, float]:
        """Runs one pass over the data, shuffled by the seed and the epoch number; returns the mean loss.

        *Raises* DivergenceError, after the state has been put back to the one in ``kept``.
        """
        if self._shuffler is not None:
            self.key[...] = np.array([self.compiled.seed % 2**64, epoch], np.uint64).view(np.int64)
            self._shuffler.run()
            index = self.batches.index
            self.batches.order[...] = self.permutation if index is None else index[self.permutation]
        self.batches.rewind()
        self.total[...] = 0.0
        for runner, times in self.runners:
            try:
                watch.run(runner, times)
            except KernelError as error:
                if error.node == self._check:
                    stop_at_loss(str(self.compiled.loss), self.batches, epoch, kept, error)
                raise located(error, self.batches, runner, epoch) from error.__cause__
        return {"loss": float(self.total.sum()) / self.batches.rows}

    def _shuffling(self) -> Runner:
        """Returns the program that draws a permutation of the rows; see the op `shuffle`."""
        nothing = Function("shuffle", [], [], [], {})
        builder = FunctionBuilder(nothing)
        permutation = builder.leaf("epoch.order", "parameter", self.permutation.shape, "int64")
        key = builder.leaf("epoch.key", "parameter", self.key.shape, "int64")
        builder.add(registry.get("shuffle"), (permutation, key), {}, "epoch.shuffle")
        fn = infer(builder.build(nothing), Sizes({}))
        return Runner(pipeline.lowered(fn, {"epoch.order": self.permutation, "epoch.key": self.key}, 1), fn, {}, 1)

    def _add_up(self, builder: FunctionBuilder, batch: int) -> None:
        """Adds the node that adds the loss up, right behind the loss: a loss that is not finite stops a step before its updates."""
        assert self.compiled.loss is not None
        loss = self.compiled.functions.of("step").outputs[self.compiled.loss]
        behind = 1 + max((k for k, node in enumerate(builder.nodes) if loss in node.outputs), default=-1)
        total = builder.leaf("epoch.total", "parameter", self.total.shape, "float64")
        node = builder.add(registry.get("accumulate_finite"), (total, loss), {"weight": float(batch)}, "epoch.loss")
        builder.nodes.insert(behind, builder.nodes.pop(builder.nodes.index(node)))
        self._check = node.name


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
