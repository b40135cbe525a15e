"""The command line; `commands` declares it, the other modules do the work."""

from graphexec.cli.commands import main

__all__ = ["main"]
