"""Declares the commands of `graphexec ops`; `ops`, `scaffold` and `op_check` in this folder implement them."""

from __future__ import annotations

import click

from graphexec.cli.command import Shape, command
from graphexec.cli.session import Result, Settings

Names = tuple[str, ...]


@click.group()
def ops() -> None:
    """Lists, describes, creates and checks ops.

    \b
    graphexec ops list
    graphexec ops new my_op && graphexec ops check my_op.py
    """


@ops.command("list")
@click.option("--all", "everything", is_flag=True, help="List also the ops that only the engine writes.")
@command
def list_(settings: Settings, everything: bool) -> Result:
    """Lists the available ops: built-in, installed, and from --plugin. On a terminal, long lines are cut.

    \b
    graphexec ops list
    graphexec ops list --all --json
    graphexec ops list --plugin my_op.py
    """
    from graphexec.cli import ops as cli_ops

    return cli_ops.list_ops(settings, everything)


@ops.command()
@click.argument("name")
@command
def info(settings: Settings, name: str) -> Result:
    """Describes an op: equation, signature, dtypes, and how it is differentiated.

    \b
    graphexec ops info tanh
    """
    from graphexec.cli import ops as cli_ops

    return cli_ops.info(name, settings)


@ops.command()
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(["elementwise", "kernel", "reduction", "view", "composite"]), default="elementwise",
    show_default=True, help="What kind of op to write.",
)  # fmt: skip
@click.option("--package", is_flag=True, help="Write a package to publish, with tests and metadata, in a folder graphexec-NAME.")
@command
def new(settings: Settings, name: str, kind: str, package: bool) -> Result:
    """Writes NAME.py, a working plugin to start from, or a whole package. It never overwrites anything.

    \b
    graphexec ops new my_op
    graphexec ops new my_product --kind kernel
    graphexec ops new my_norm --kind composite --package
    """
    from graphexec.cli import scaffold

    return scaffold.new(name, settings, kind, package)


@ops.command("check")
@click.argument("targets", metavar="NAME_OR_FILE...", nargs=-1, required=True)
@click.option("-a", "--attribute", "attributes", multiple=True, metavar="KEY=VALUE", help="An attribute; repeatable.")
@click.option("--shape", "shapes", type=Shape(), multiple=True, help="The shape of an operand, in order; repeatable.")
@click.option("--derivative", type=click.IntRange(1, 6), default=1, metavar="N", help="Check derivatives up to this order.")
@click.option("--timeout", type=click.FloatRange(min=1), default=20, show_default=True, help="Seconds without an answer: a hang.")
@command
def check_op(
    settings: Settings, targets: Names, attributes: Names, shapes: tuple[tuple[int, ...], ...], derivative: int, timeout: float
) -> Result:
    """Checks ops as a strict reviewer would; exits with 1 if one has a fault.

    Operands of many sizes, ranks, layouts and element types come from the op's examples=, or are drawn from its domain;
    attributes get second values. Native kernels are compared with the reference and the un-jitted function, gradients with
    central differences, also in float32 and at special points. Memory is watched: unwritten elements, reads and writes out of
    range, changed operands, pieces that threads share. A crash or a hang is a finding. Each finding comes with code.

    \b
    graphexec ops check tanh
    graphexec ops check my_op.py --shape 4,5 -a beta=2.0
    graphexec ops check my_ops/*.py --derivative 3 --json
    """
    from graphexec.cli import op_check
    from graphexec.ir.call_text import parse_call

    given = parse_call(f"op({', '.join(attributes)})", "attributes such as axis=0")[2] if attributes else None
    return op_check.check(targets, settings, given, shapes, derivative, timeout)
