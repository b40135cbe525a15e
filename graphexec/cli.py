"""The command line: parse, call, print. What a command does is in `cli_run`, `cli_train`, `cli_time` and `cli_ops`.

Results go to standard output; progress, notes and errors to standard error. Exit codes: 0, 1 for an error of the
user's input (one message, with the traceback behind --debug), 2 for wrong usage, 130 for Ctrl-C.
"""

from __future__ import annotations

import functools
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from graphexec.cli_session import Result, Settings

Command = Callable[..., Any]


def main() -> None:
    """The console script."""
    try:
        cli(prog_name="graphexec")
    except KeyboardInterrupt:  # before a command began
        click.echo("interrupted", err=True)
        sys.exit(130)


# -- what all commands have in common


def command(function: Callable[..., Result | None]) -> Command:
    """Gives a command the common options, prints what it returns, and turns its errors into one message."""

    @click.option("--plugin", "plugins", multiple=True, metavar="FILE.py", help="Load ops from a Python file first; repeatable.")
    @click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Native threads; the result is the same for any number.")
    @click.option("--seed", type=click.IntRange(min=0), metavar="N", help="First values, shuffles, drawn inputs; default: the file's, or 0.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @click.option("--quiet", is_flag=True, help="The result only: no progress, no notes.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
    @functools.wraps(function)
    def run(plugins: tuple[str, ...], threads: int | None, seed: int | None, debug: bool, quiet: bool, as_json: bool, **options: Any) -> None:
        settings = Settings(plugins, threads, seed, debug, quiet, as_json)
        with reported(settings):
            result = function(settings, **options)
            if result is not None:
                for line in result.notes:
                    note(settings, line)
                click.echo(to_json(result.record) if as_json else result.text)
                if result.error is not None:
                    raise result.error

    return run


@contextmanager
def reported(settings: Settings) -> Iterator[None]:
    """Errors become one message on standard error and an exit code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest, **more: note(settings, f"warning: {message}")
        try:
            yield
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)
        except Exception as error:  # noqa: BLE001 - whatever happened, the user gets one message
            if settings.debug:
                traceback.print_exc()
            else:
                click.echo(message_of(error), err=True)
            sys.exit(1)


def message_of(error: Exception) -> str:
    from graphexec.errors import GraphExecError

    if isinstance(error, GraphExecError):
        return f"{type(error).__name__}: {error}"
    place = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or "no more is known"
    hint = "" if isinstance(error, (OSError, MemoryError)) else "\n  This is not expected: --debug shows where it comes from."
    return f"{type(error).__name__}: {place}{text}{hint}"


def note(settings: Settings, line: str) -> None:
    if not settings.quiet:
        click.echo(line, err=True)


def to_json(record: Any) -> str:
    """Strict JSON: NaN and infinities are null."""
    from graphexec.training.checkpoint import strict

    return json.dumps(strict(record), allow_nan=False, default=lambda v: v.tolist() if hasattr(v, "tolist") else str(v))


class Size(click.ParamType):
    """``batch=32``."""

    name = "NAME=N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        name, _, number = str(value).partition("=")
        if not name or not number.isdigit():
            self.fail(f"{value!r} is not a size such as batch=32", param, ctx)
        return name, int(number)


class Shape(click.ParamType):
    """``2,3``."""

    name = "N,N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        parts = [p.strip() for p in str(value).strip("()[] ").split(",") if p.strip()]
        if not all(p.isdigit() for p in parts):
            self.fail(f"{value!r} is not a shape such as 2,3", param, ctx)
        return tuple(int(p) for p in parts)


file = click.argument("file", metavar="FILE")
inputs = click.option(
    "-i", "--input", "inputs", multiple=True, metavar="NAME=FILE", help="An input's array: x=x.npy, x=data.npz:array, x=table.csv:column, or batch.npz."
)
weights = click.option("-w", "--weights", metavar="FILE", help="Parameters: a .safetensors file, or a checkpoint folder.")
loss = click.option("--loss", metavar="NAME", help="The scalar value to differentiate; default: the file's.")
size = click.option("--size", "sizes", type=Size(), multiple=True, help="The size of a named dimension, such as batch=32; repeatable.")
of = click.option("--of", "kind", type=click.Choice(["step", "gradients", "forward"]), help="Which program; default: a training step if there is a loss.")
seconds = click.option("--seconds", type=click.FloatRange(min=0), default=1.0, show_default=True, help="How long to measure.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="graphexec")
def cli() -> None:
    """Runs, differentiates and trains computational graphs written as YAML or JSON files.

    \b
    graphexec check net.yaml                 is it sound, are its gradients right?
    graphexec train net.yaml -o net.safetensors
    graphexec run net.yaml -w net.safetensors -i x=x.npy -o out.npz

    `graphexec COMMAND --help` shows an example of each command.
    """


# -- commands


@cli.command()
@file
@inputs
@weights
@click.option("-o", "--output", metavar="OUT.npz", help="Write the outputs to this file.")
@command
def run(settings: Settings, file: str, inputs: tuple[str, ...], weights: str | None, output: str | None) -> Result:
    """Runs the forward pass and prints a summary of each output.

    Without -i the data of the file's train section is used. Outputs that need an input that is not given are left out.

    \b
    graphexec run net.yaml -i x=x.npy -w net.safetensors -o out.npz
    graphexec run net.yaml -i x=data.npz:images --json
    """
    from graphexec import cli_run

    return cli_run.run(file, settings, inputs, weights, output)


@cli.command()
@file
@inputs
@weights
@loss
@click.option("--wrt", multiple=True, metavar="NAME", help="Differentiate by this value; repeatable. Default: all parameters.")
@click.option("-o", "--output", metavar="GRADS.npz", help="Write the gradients to this file.")
@command
def grad(
    settings: Settings, file: str, inputs: tuple[str, ...], weights: str | None, loss: str | None, wrt: tuple[str, ...], output: str | None
) -> Result:
    """Runs forward and backward: a table of every node with the norms of its value and its delta, and the gradients.

    The delta of a value is the derivative of the loss by it. Small deltas and gradients are printed in full.

    \b
    graphexec grad nested.yaml -i x=x.npy -i y=y.npy
    graphexec grad nested.yaml --wrt x --wrt w -o grads.npz
    """
    from graphexec import cli_run

    return cli_run.grad(file, settings, inputs, loss, wrt, weights, output)


@cli.command()
@file
@inputs
@click.option("--epochs", type=click.IntRange(min=0), metavar="N", help="How often to go over the data, in all.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Rows of a mini-batch.")
@click.option("--lr", type=float, metavar="X", help="Learning rate, in place of the optimizer's.")
@click.option("--optimizer", metavar="CALL", help="Such as 'sgd(lr=0.1)' or 'adam(lr=0.001)'.")
@click.option("--hold-out", type=click.FloatRange(0, 1, max_open=True), metavar="X", help="Fraction of the rows to hold out.")
@click.option("--checkpoint", metavar="DIR", help="Save everything after each epoch in this folder.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint, bit for bit as if never stopped.")
@weights
@click.option("-o", "--output", metavar="W.safetensors", help="Write the trained parameters; without it they are not kept.")
@command
def train(settings: Settings, file: str, **options: Any) -> Result:
    """Trains a graph as its train section says; prints loss and metrics on training and held-out rows.

    Options come before what the file says. Ctrl-C stops; with --checkpoint, the last whole epoch is kept.

    \b
    graphexec train digits.yaml -o digits.safetensors
    graphexec train digits.yaml --epochs 100 --checkpoint run1 --resume
    graphexec train digits.yaml --json > result.json
    """
    from graphexec import cli_train

    if options["resume"] and options["checkpoint"] is None:
        raise click.UsageError("--resume needs --checkpoint DIR")
    silent = settings.quiet or settings.as_json
    say = (lambda line: None) if silent else click.echo
    bar = sys.stderr.isatty() and not settings.quiet
    return cli_train.train(file, settings, cli_train.Options(**options), say, functools.partial(note, settings), bar)


@cli.command()
@file
@inputs
@loss
@command
def check(settings: Settings, file: str, inputs: tuple[str, ...], loss: str | None) -> Result:
    """Validates a file, infers every shape, and compares gradients with central differences in float64.

    Inputs are the first rows of the file's data, or drawn at random.

    \b
    graphexec check net.yaml
    graphexec check net.yaml --plugin my_op.py --seed 7
    """
    from graphexec import cli_run

    return cli_run.check(file, settings, inputs, loss)


@cli.command()
@file
@click.option("--program", is_flag=True, help="The program that runs: kernels, what they read and write, where it lies.")
@of
@size
@command
def show(settings: Settings, file: str, program: bool, kind: str | None, sizes: tuple[tuple[str, int], ...]) -> Result:
    """Shows the graph as a table (outputs are marked *), or the lowered program.

    \b
    graphexec show net.yaml
    graphexec show net.yaml --program --of forward --size batch=32
    """
    from graphexec import cli_run

    return cli_run.show(file, settings, program or kind is not None or bool(sizes), kind, dict(sizes))


@cli.command()
@file
@inputs
@of
@size
@seconds
@command
def bench(settings: Settings, file: str, inputs: tuple[str, ...], kind: str | None, sizes: tuple[tuple[str, int], ...], seconds: float) -> Result:
    """Measures a training step, or another program: median, 10th and 90th percentile of its time.

    \b
    graphexec bench net.yaml --size batch=256
    graphexec bench net.yaml --of forward --seconds 5 --json
    """
    from graphexec import cli_time

    return cli_time.bench(file, settings, kind, dict(sizes), inputs, seconds)


@cli.command()
@file
@inputs
@of
@size
@seconds
@click.option("--instructions", is_flag=True, help="A line for each instruction, in order, instead of each node.")
@command
def profile(
    settings: Settings, file: str, inputs: tuple[str, ...], kind: str | None, sizes: tuple[tuple[str, int], ...], seconds: float, instructions: bool
) -> Result:
    """Measures each node: time, share, GFLOP/s of matrix products, GB/s of what is read and written.

    \b
    graphexec profile net.yaml --size batch=256
    graphexec profile net.yaml --of gradients --instructions
    """
    from graphexec import cli_time

    return cli_time.profile(file, settings, kind, dict(sizes), inputs, seconds, instructions)


# -- ops


@cli.group()
def ops() -> None:
    """Lists, explains, starts and checks ops.

    \b
    graphexec ops list
    graphexec ops new my_op && graphexec ops check my_op.py
    """


@ops.command("list")
@command
def list_(settings: Settings) -> Result:
    """Lists the ops that are known: built in, installed, and from --plugin.

    \b
    graphexec ops list
    graphexec ops list --plugin my_op.py
    """
    from graphexec import cli_ops

    return cli_ops.list_ops(settings)


@ops.command()
@click.argument("name")
@command
def info(settings: Settings, name: str) -> Result:
    """Explains an op: equation, signature, element types, how it is differentiated.

    \b
    graphexec ops info tanh
    """
    from graphexec import cli_ops

    return cli_ops.info(name, settings)


@ops.command()
@click.argument("name")
@click.option("--kernel", is_flag=True, help="An array kernel instead of an elementwise op.")
@command
def new(settings: Settings, name: str, kernel: bool) -> Result:
    """Writes NAME.py: a plugin that works, to be changed into your own. An existing file is never overwritten.

    \b
    graphexec ops new my_op
    graphexec ops new my_product --kernel
    """
    from graphexec import cli_ops

    return cli_ops.new(name, settings, kernel)


@ops.command("check")
@click.argument("target", metavar="NAME_OR_FILE")
@click.option("-a", "--attribute", "attributes", multiple=True, metavar="KEY=VALUE", help="An attribute; repeatable.")
@click.option("--shape", "shapes", type=Shape(), multiple=True, help="The shape of each operand, in their order; repeatable.")
@command
def check_op(settings: Settings, target: str, attributes: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> Result:
    """Checks an op: native and un-jitted against its reference, and its gradient against central differences.

    \b
    graphexec ops check tanh
    graphexec ops check my_op.py --shape 4,5 -a beta=2.0
    """
    from graphexec import cli_ops
    from graphexec.call import parse_call

    given = parse_call(f"{'op'}({', '.join(attributes)})", "attributes such as axis=0")[2] if attributes else {}
    return cli_ops.check(target, settings, given, shapes)
