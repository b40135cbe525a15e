"""Implements the command train."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphexec.cli import format as out
from graphexec.cli.session import Result, Session, Settings, check_target, load_weights, random_weights
from graphexec.errors import DataError, DivergenceError, GraphExecError
from graphexec.process import stoppable
from graphexec.training.checkpoint import checkpoint_record, load_checkpoint, save_checkpoint
from graphexec.training.data import Split, training_data

if TYPE_CHECKING:
    import numpy as np

    from graphexec.executable import Executable

Entry = dict[str, Any]
LINES = 20
"""Number of epochs printed without a progress bar, not counting the last one."""
SAVE_EVERY = 1.0
"""Minimum number of seconds between checkpoints."""


@dataclass(frozen=True)
class Options:
    """Options of the command line; None defers to the train section."""

    inputs: Sequence[str] = ()
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: str | None = None
    hold_out: float | None = None
    allow_nan: bool = False
    recompute: int | str | None = None
    checkpoint: str | None = None
    resume: bool = False
    weights: str | None = None
    output: str | None = None


def train(
    path: str, settings: Settings, options: Options, say: Callable[[str], None], note: Callable[[str], None], bar: bool
) -> Result:
    """Trains according to the train section. ``say`` prints progress lines, ``note`` lines to standard error."""
    from graphexec.graph.file.train_section import metric_values

    check_target(options.output, [".safetensors"])
    session = Session(path, settings)
    section = session.train
    metrics = metric_values(session.graph, section)
    recompute = section.get("recompute") if options.recompute is None else options.recompute
    optimizer = session.optimizer(options.optimizer, options.lr)
    exe = session.compile(loss=session.required_loss(), optimizer=optimizer, recompute=recompute)
    split = _split(session, options)
    epochs = section.get("epochs", 1) if options.epochs is None else options.epochs
    batch_size = section.get("batch_size") if options.batch_size is None else options.batch_size
    run_settings = {} if options.checkpoint is None else _settings(split, batch_size, section)
    history = _start(exe, options, run_settings, note)
    if not history and not epochs and not options.weights:
        session.notes += random_weights(session.graph, session.seed)
    begin, before = time.perf_counter(), len(history)
    report = Reporter(exe, options.checkpoint, run_settings, history, epochs, say, bar)
    with _interruptible(report, options.output, note):
        exe.fit(
            split.train,
            epochs=max(epochs - len(history), 0),
            batch_size=batch_size,
            shuffle=section.get("shuffle", True),
            validation=split.held_out,
            metrics=metrics,
            progress=bar,
            on_epoch=report,
            start_epoch=len(history),
        )
        found = {"train": exe.evaluate(split.train, metrics, batch_size=batch_size)}
        found |= {} if split.held_out is None else {"held_out": exe.evaluate(split.held_out, metrics, batch_size=batch_size)}
    seconds = time.perf_counter() - begin
    if options.output:
        exe.save(options.output)
        note(f"wrote {options.output}")
    elif options.checkpoint is None:
        note("the weights are not saved: use -o FILE.safetensors or --checkpoint DIR")
    record = {"epochs": history, "train": found["train"], "held_out": found.get("held_out"), "seconds": seconds}
    return Result(_summary(found, split, len(history) - before, seconds), record, session.notes)


def _split(session: Session, options: Options) -> Split:
    section = dict(session.train)
    if options.hold_out is not None:
        section["hold_out"] = options.hold_out
    if options.allow_nan:
        section["allow_nan"] = True
    finite = not section.get("allow_nan", False)
    arrays = session.all_inputs(options.inputs, finite=finite) if options.inputs else None
    return training_data(session.graph, section, seed=session.seed, arrays=arrays)


def _settings(split: Split, batch_size: int | None, section: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the run beside the compiled graph; kept in the checkpoint."""
    from graphexec.training import run_settings

    size = split.rows[0] if batch_size is None else min(batch_size, split.rows[0])
    data = run_settings.of_data(split.train, split.held_out, split.rows)
    return {"batch size": size, "shuffle": section.get("shuffle", True), **data}


def _start(exe: Executable, options: Options, settings: dict[str, Any], note: Callable[[str], None]) -> list[Entry]:
    """Loads weights or a checkpoint; returns the history so far. Adds the weights to what decides the run."""
    from graphexec.training.run_settings import data_hash

    if options.weights:
        for line in load_weights(exe, options.weights):
            note(line)
        settings["weights"] = data_hash(exe.parameters)
    if options.checkpoint is None:
        return []
    record = checkpoint_record(options.checkpoint)
    if record is None:
        if options.resume:
            note(f"no checkpoint in {options.checkpoint} yet: training starts at the first epoch")
        return []
    if not options.resume:
        raise DataError(
            f"the folder holds a checkpoint of epoch {record['epoch']}",
            source=options.checkpoint,
            todo="Resume it with --resume, or use another folder.",
        )
    epoch, history = load_checkpoint(options.checkpoint, exe.compiled, settings)
    note(f"resuming after epoch {epoch} of {options.checkpoint}")
    return history


class Reporter:
    """Called after each epoch: keeps the history, saves the checkpoint, prints some of the lines.

    If epochs are short, it keeps a copy of the arrays in memory and writes a file only every SAVE_EVERY seconds, at the end,
    or when training stops.
    """

    def __init__(
        self, exe: Executable, checkpoint: str | None, settings: Mapping[str, Any], history: list[Entry], epochs: int,
        say: Callable[[str], None], bar: bool,
    ) -> None:  # fmt: skip
        self.exe, self.checkpoint, self.settings, self.history, self.epochs = exe, checkpoint, settings, history, epochs
        self.say, self.bar = say, bar
        self.every = max(-(-epochs // LINES), 1)
        self.saved = -math.inf
        self.pending: tuple[int, Mapping[str, np.ndarray]] | None = None
        self.kept = len(history)
        """The epoch that the checkpoint holds."""

    def __call__(self, entry: Entry) -> None:
        self.history.append(entry)
        if self.checkpoint is not None:
            due = time.monotonic() >= self.saved + SAVE_EVERY or len(self.history) == self.epochs
            self.pending = len(self.history), {n: a if due else a.copy() for n, a in self.exe.state().items()}
            if due:
                self.save()
        if not self.bar and (entry["epoch"] % self.every == 0 or entry["epoch"] == self.epochs):
            self.say(_line(entry, self.epochs))

    def save(self) -> None:
        """Writes the pending checkpoint, if any."""
        if self.pending is not None and self.checkpoint is not None:
            epoch, arrays = self.pending
            save_checkpoint(self.checkpoint, self.exe.compiled, epoch, self.history[:epoch], arrays, self.settings)
            self.pending, self.saved, self.kept = None, time.monotonic(), epoch


def _line(entry: Entry, epochs: int) -> str:
    def numbers(values: Mapping[str, Any]) -> str:
        return ", ".join(f"{n} {v:.4g}" for n, v in values.items() if isinstance(v, float) and n != "seconds")

    held_out = f"   held out: {numbers(entry['held_out'])}" if entry.get("held_out") else ""
    return f"epoch {entry['epoch']:{len(str(epochs))}d}/{epochs}   {numbers(entry)}{held_out}"


@contextlib.contextmanager
def _interruptible(report: Reporter, output: str | None, note: Callable[[str], None]) -> Iterator[None]:
    """Saves the last complete epoch if an error or a signal stops training; if training diverges, also the weights."""
    with stoppable():
        try:
            yield
        except KeyboardInterrupt:
            report.save()
            done = len(report.history) if report.checkpoint is None else report.kept  # Ctrl-C may come while an epoch is copied
            kept = "nothing is saved: use --checkpoint DIR"
            if report.checkpoint is not None:
                kept = f"{report.checkpoint} holds epoch {done}: continue with --resume" if done else "no checkpoint is saved yet"
            note(f"stopped after {done} of {report.epochs} epochs; {kept}")
            raise
        except DivergenceError:
            report.save()
            done = len(report.history)
            if output is not None and done:
                report.exe.save(output)
                note(f"wrote {output}: the weights after epoch {done}, the last finite ones")
            elif output is not None:
                note(f"{output} is not written: no epoch was completed")
            raise
        except (GraphExecError, OSError):  # OSError: nobody reads the progress any more
            report.save()
            raise


def _summary(found: Mapping[str, Mapping[str, float]], split: Split, epochs: int, seconds: float) -> str:
    names = list(found["train"])
    rows = [
        (part.replace("_", " "), count, *(values[n] for n in names))
        for (part, values), count in zip(found.items(), split.rows, strict=False)
    ]
    return f"{out.table(rows, ('', 'rows', *names))}\n\n{epochs} epochs in {out.seconds(seconds)}"
