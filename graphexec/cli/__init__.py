"""The command line: `commands` declares the commands, and the other modules implement them."""

from graphexec.cli.commands import main

__all__ = ["main"]
