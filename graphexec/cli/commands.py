"""Declares the commands and their options; `run`, `train`, `profile` and `ops` in this folder implement them.

`command` adds the common options and turns errors into messages and exit codes.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import Any

import click

from graphexec import process, progress
from graphexec.atomic_file import abandon
from graphexec.cli.command import BROKEN_PIPE, Segments, Size, command, emit, note, optimizing
from graphexec.cli.op_commands import ops
from graphexec.cli.session import Result, Settings
from graphexec.file_lock import locked

Sizes = tuple[tuple[str, int], ...]
Names = tuple[str, ...]


def main() -> None:
    """Runs the command line: the entry point of the console script."""
    process.handle_signals()
    process.occupy_closed_streams()
    process.accept_any_text()
    process.before_leaving.append(abandon)
    stdout = sys.stdout
    try:
        cli(prog_name="graphexec")
    except SystemExit:
        if sys.stdout is not stdout:  # click met a broken pipe, while it printed a help page
            process.discard_output()
            sys.exit(BROKEN_PIPE)
        raise
    finally:
        process.finish_quietly()


file = click.argument("file", metavar="FILE")
inputs = click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=FILE",
    help="Data of an input: x=x.npy, x=data.npz:array or x=table.csv:column; or batch.npz for all inputs.",
)
weights = click.option("-w", "--weights", metavar="FILE", help="Parameters: a .safetensors file, or a checkpoint folder.")
loss = click.option("--loss", metavar="NAME", help="The scalar value to differentiate. Default: the loss that the file names.")
size = click.option("--size", "sizes", type=Size(), multiple=True, help="A named dimension, such as batch=32; repeatable.")
of = click.option("--of", "kind", type=click.Choice(["step", "gradients", "forward"]), help="The program to use.")
seconds = click.option("--seconds", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Seconds to measure.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="graphexec")
def cli() -> None:
    """Runs, differentiates and trains computational graphs written as YAML or JSON files.

    \b
    graphexec check net.yaml                 validate the file and check its gradients
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
@optimizing
@command
def run(settings: Settings, file: str, inputs: Names, weights: str | None, output: str | None) -> Result:
    """Runs the forward pass and prints a summary of each output.

    Without -i it uses the data of the file's train section. It skips outputs that depend on a missing input. Without -w it
    says so if parameters are random initial ones.

    \b
    graphexec run net.yaml -i x=x.npy -w net.safetensors -o out.npz
    graphexec run net.yaml -i x=data.npz:images --json
    graphexec run net.yaml -i x=x.npy --no-optimize
    """
    from graphexec.cli import run as cli_run

    return cli_run.run(file, settings, inputs, weights, output)


@cli.command()
@file
@inputs
@weights
@loss
@click.option("--wrt", multiple=True, metavar="NAME", help="Value to differentiate by; repeatable. Default: all parameters.")
@click.option("-o", "--output", metavar="GRADS.npz", help="Write the gradients to this file.")
@optimizing
@command
def grad(
    settings: Settings, file: str, inputs: Names, weights: str | None, loss: str | None, wrt: Names, output: str | None
) -> Result:
    """Runs the forward and backward pass; prints the norms of every node's value and delta, and the gradients.

    The delta of a value is the derivative of the loss with respect to it. Small deltas and gradients are printed in full.

    \b
    graphexec grad nested.yaml -i x=x.npy -i y=y.npy
    graphexec grad nested.yaml --wrt x --wrt w -o grads.npz
    """
    from graphexec.cli import run as cli_run

    return cli_run.grad(file, settings, inputs, loss, wrt, weights, output)


@cli.command()
@file
@inputs
@click.option("--epochs", type=click.IntRange(min=0), metavar="N", help="Total number of passes over the data.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Rows per mini-batch.")
@click.option("--lr", type=float, metavar="X", help="Learning rate; overrides the optimizer's.")
@click.option("--optimizer", metavar="CALL", help="Optimizer, such as 'sgd(lr=0.1)' or 'adam(lr=0.001)'.")
@click.option("--hold-out", type=click.FloatRange(0, 1, max_open=True), metavar="X", help="Fraction of the rows to hold out.")
@click.option("--allow-nan", is_flag=True, help="Train although the data holds NaN or infinity.")
@click.option("--recompute", type=Segments(), help="Save memory: keep only the values between N segments and recompute the others.")
@click.option("--checkpoint", metavar="DIR", help="Save the training state in this folder after each epoch.")
@click.option("--resume", is_flag=True, help="Continue the run in the checkpoint, bit for bit; refused if data or settings differ.")
@weights
@click.option("-o", "--output", metavar="W.safetensors", help="Write the trained parameters; otherwise they are lost.")
@optimizing
@command
def train(settings: Settings, file: str, **options: Any) -> Result:
    """Trains a graph according to its train section; prints loss and metrics on training and held-out rows.

    Options override the file. Ctrl-C, SIGTERM and SIGHUP stop training; with --checkpoint, the last complete epoch is kept.
    While a command trains into a checkpoint folder, no other one can. If the loss or a parameter is no longer finite, training
    stops with exit code 1, and the checkpoint and -o hold the last finite weights.

    \b
    graphexec train digits.yaml -o digits.safetensors
    graphexec train digits.yaml --epochs 100 --checkpoint run1 --resume
    graphexec train digits.yaml --json > result.json
    """
    from graphexec.cli import train as cli_train

    if options["resume"] and options["checkpoint"] is None:
        raise click.UsageError("--resume needs --checkpoint DIR")
    silent = settings.quiet or settings.as_json or sys.stdout is None
    say = (lambda line: None) if silent else (lambda line: emit(line, sys.stdout))
    bar = progress.has_terminal() and not settings.quiet
    with contextlib.nullcontext() if options["checkpoint"] is None else locked(options["checkpoint"]):
        return cli_train.train(file, settings, cli_train.Options(**options), say, functools.partial(note, settings), bar)


@cli.command()
@file
@inputs
@loss
@optimizing
@command
def check(settings: Settings, file: str, inputs: Names, loss: str | None) -> Result:
    """Validates a file, infers every shape, and compares gradients with central differences in float64.

    Inputs are the first rows of the file's data, or random.

    \b
    graphexec check net.yaml
    graphexec check net.yaml --plugin my_op.py --seed 7
    """
    from graphexec.cli import run as cli_run

    return cli_run.check(file, settings, inputs, loss, progress.has_terminal() and not settings.quiet)


@cli.command()
@file
@click.option("--program", is_flag=True, help="Show the lowered program: its kernels and the memory they read and write.")
@of
@size
@optimizing
@command
def show(settings: Settings, file: str, program: bool, kind: str | None, sizes: Sizes) -> Result:
    """Shows the graph as a table, with outputs marked *, or the lowered program.

    \b
    graphexec show net.yaml
    graphexec show net.yaml --program --of forward --size batch=32
    graphexec show net.yaml --program --skip-pass fuse
    """
    from graphexec.cli import run as cli_run

    return cli_run.show(file, settings, program or kind is not None or bool(sizes), kind, dict(sizes))


@cli.command()
@file
@inputs
@of
@size
@seconds
@optimizing
@command
def bench(settings: Settings, file: str, inputs: Names, kind: str | None, sizes: Sizes, seconds: float) -> Result:
    """Measures the run time of a training step or another program: median, 10th and 90th percentile.

    \b
    graphexec bench net.yaml --size batch=256
    graphexec bench net.yaml --of forward --seconds 5 --json
    """
    from graphexec.cli import profile as cli_time

    return cli_time.bench(file, settings, kind, dict(sizes), inputs, seconds)


@cli.command()
@file
@inputs
@of
@size
@seconds
@click.option("--instructions", is_flag=True, help="Print a line per instruction, in order, instead of per node.")
@optimizing
@command
def profile(
    settings: Settings, file: str, inputs: Names, kind: str | None, sizes: Sizes, seconds: float, instructions: bool
) -> Result:
    """Measures each node: time, share of the total, GFLOP/s of matrix products, GB/s read and written.

    \b
    graphexec profile net.yaml --size batch=256
    graphexec profile net.yaml --of gradients --instructions
    """
    from graphexec.cli import profile as cli_time

    return cli_time.profile(file, settings, kind, dict(sizes), inputs, seconds, instructions)


@cli.command()
@command
def doctor(settings: Settings) -> Result:
    """Reports versions, processor, threads, cache, plugins and extras, and what is wrong with them.

    The exit code is 1 if something stops work. Attach the output to a report of a problem.

    \b
    graphexec doctor
    graphexec doctor --json --plugin my_op.py
    """
    from graphexec.cli import doctor as cli_doctor

    return cli_doctor.doctor(settings)


cli.add_command(ops)
