"""The parts that all commands share: options, option types and error reporting.

Commands print results to standard output; progress, notes and errors to standard error. Exit codes: 0; 1 for an error (one
message; --debug adds the traceback); 2 for wrong usage; 128 + the signal's number when a signal ends the command (130 for Ctrl-C,
143 for SIGTERM), or when nobody reads standard output any more (141).
"""

from __future__ import annotations

import functools
import json
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

from graphexec import process, progress
from graphexec.cli.session import Result, Settings
from graphexec.errors import DataError, GraphExecError
from graphexec.system_errors import cause_of

BROKEN_PIPE = 141
"""Exit code of a program whose output nobody reads any more: 128 + SIGPIPE."""

Command = Callable[..., Any]
if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:  # generic since click 8.4 only
    ParamType = click.ParamType


def optimizing(function: Command) -> Command:
    """Adds the options that skip passes to a command that compiles graphs. Apply it above `command`."""
    whole = click.option("--no-optimize", is_flag=True, help="Run without optimizations, to see whether a wrong result persists.")
    skip_help = "Skip an optimization pass, such as fuse, to find a faulty one; repeatable. An unknown name lists them."
    return whole(click.option("--skip-pass", "skip_passes", multiple=True, metavar="NAME", help=skip_help)(function))


def command(function: Callable[..., Result | None]) -> Command:
    """Gives a command the common options, prints its result, and reports each error as one message."""

    @click.option("--plugin", "plugins", multiple=True, metavar="FILE.py", help="Load ops from a Python file first; repeatable.")
    @click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Number of threads; results do not depend on it.")
    @click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed of initial values, shuffling and random inputs.")
    @click.option("--debug", is_flag=True, help="Show tracebacks; slowly look for faults of array kernels while they run.")
    @click.option("--quiet", is_flag=True, help="Print only the result: no progress, no notes.")
    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
    @functools.wraps(function)
    def run(
        plugins: tuple[str, ...], threads: int | None, seed: int | None, debug: bool, quiet: bool, as_json: bool, **options: Any
    ) -> None:
        passes = {"optimize": not options.pop("no_optimize", False), "skip_passes": options.pop("skip_passes", ())}
        settings = Settings(plugins, threads, seed, debug, quiet, as_json, **passes)
        results = process.only_results() if as_json else nullcontext(sys.stdout)
        with reported(settings), progress.showing(not quiet), results as stream:
            result = function(settings, **options)
            if result is not None:
                for line in result.notes:
                    note(settings, line)
                emit(to_json(result.record) if as_json else result.text, stream)
                if result.error is not None:
                    raise result.error

    return run


@contextmanager
def reported(settings: Settings) -> Iterator[None]:
    """Turns an error into one message on standard error and an exit code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest, **more: note(settings, f"warning: {message}")
        try:
            yield
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:  # the reader of standard output has enough, as in `| head -1`
            process.discard_output()
            sys.exit(BROKEN_PIPE)
        except KeyboardInterrupt as stop:
            complain(process.WORDS[signal_of(stop)])
            sys.exit(128 + signal_of(stop))
        except Exception as error:  # the user gets one message for any error
            complain(traceback.format_exc().rstrip() if settings.debug else message_of(error))
            sys.exit(1)


def signal_of(stop: KeyboardInterrupt) -> int:
    """The number of the signal that stopped the command."""
    return stop.number if isinstance(stop, process.Stopped) else signal.SIGINT


def emit(text: str, stream: TextIO | None) -> None:
    """Prints to standard output. *Raises* BrokenPipeError if nobody reads it, DataError if it cannot be written."""
    if stream is None:
        raise DataError("the result cannot be printed: standard output is closed", todo="Redirect it: > FILE, or > /dev/null.")
    try:
        click.echo(text, stream)
    except BrokenPipeError:
        process.discard_output(stream.fileno())
        raise
    except OSError as error:
        process.discard_output(stream.fileno())
        what, todo = cause_of(error, writing=True)
        raise DataError(f"the result cannot be printed: {what}", source="standard output", todo=todo) from error


def complain(text: str) -> None:
    """Prints an error to standard error; if that is closed, to standard output, as click does."""
    with suppress(OSError, ValueError):
        click.echo(text, err=sys.stderr is not None)


def message_of(error: Exception) -> str:
    """The message that a user sees for an error."""
    if isinstance(error, GraphExecError):
        return f"{type(error).__name__}: {error}"
    place = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    text = cause_of(error).what if isinstance(error, OSError) else str(error) or "no details available"
    hint = "" if isinstance(error, (OSError, MemoryError)) else "\n  This error is unexpected: --debug shows the traceback."
    return f"{type(error).__name__}: {place}{text}{hint}"


def note(settings: Settings, line: str) -> None:
    """Prints a line to standard error, unless --quiet is given."""
    if not settings.quiet and sys.stderr is not None:
        complain(line)


def to_json(record: Any) -> str:
    """Formats a record as strict JSON, with null for NaN and infinities."""
    from graphexec.training.checkpoint import strict

    return json.dumps(strict(record), allow_nan=False, default=lambda v: v.tolist() if hasattr(v, "tolist") else str(v))


class Size(ParamType):
    """A named dimension and its size, such as ``batch=32``."""

    name = "NAME=N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        name, _, number = str(value).partition("=")
        if not name or not number.isdigit():
            self.fail(f"{value!r} is not a size such as batch=32", param, ctx)
        return name, int(number)


class Segments(ParamType):
    """A number of checkpointing segments, such as ``10``, or ``sqrt``."""

    name = "N|sqrt"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "sqrt" or isinstance(value, int):
            return value  # type: ignore[no-any-return]
        if not value.isdecimal() or int(value) == 0:
            self.fail(f"{value!r} is neither a positive whole number nor sqrt", param, ctx)
        return int(value)


class Shape(ParamType):
    """A shape, such as ``2,3``."""

    name = "N,N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        parts = [p.strip() for p in str(value).strip("()[] ").split(",") if p.strip()]
        if not all(p.isdigit() for p in parts):
            self.fail(f"{value!r} is not a shape such as 2,3", param, ctx)
        return tuple(int(p) for p in parts)
