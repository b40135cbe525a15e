"""What the command line sets up in its own process: signals and the standard streams.

Importing this module changes nothing unless the process is the command line's: the console script, or `python -m graphexec`. Then
Ctrl-C must end it with one line from the first import on, so the package imports this module before any that takes long.

SIGINT, SIGTERM and SIGHUP end the process at once, with one line and exit code 128 + the signal's number: no exception is raised
that an import, a destructor or a callback could swallow or print. Inside `stoppable` they raise `Stopped` instead, so that a
training can save what it has.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TextIO

WORDS = {
    getattr(signal, name): word
    for name, word in (("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "terminated: the terminal is closed"))
    if hasattr(signal, name)
}
"""The signals that ask a process to end, and what the command line prints then."""

AGAIN = 0.5
"""Seconds during which a second Ctrl-C is taken for the same one: wrappers send it twice."""

Handler = Callable[[int, FrameType | None], object]

before_leaving: list[Callable[[], None]] = []
"""Called before the process ends at a signal."""


class Stopped(KeyboardInterrupt):
    """A signal asked the command to stop; ``number`` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(WORDS[number])
        self.number = number


def is_command_line() -> bool:
    """Whether this process runs the console script or `python -m graphexec`."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # the module's package is being imported
        rest = sys.orig_argv
        return "-m" in rest and rest[rest.index("-m") + 1 : rest.index("-m") + 2] == ["graphexec"]
    return os.path.basename(program) in ("graphexec", "graphexec.exe", "graphexec-script.py")


def handle_signals() -> None:
    """Makes the signals of WORDS end the process with one line, unless they are ignored, as under nohup."""
    if threading.current_thread() is threading.main_thread():
        for number in WORDS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    for action in before_leaving:
        with contextlib.suppress(Exception):
            action()
    with contextlib.suppress(OSError):
        os.write(2, f"{WORDS[number]}\n".encode())
    os._exit(128 + number)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """While the block runs, a signal that would end the process raises `Stopped`.

    It does so once, so that what is saved then is saved in peace; another Ctrl-C raises again.
    """
    handled = [number for number in WORDS if signal.getsignal(number) is _leave]
    raiser = _raiser()
    try:
        for number in handled:
            signal.signal(number, raiser)
        yield
    finally:
        for number in handled:
            signal.signal(number, _leave)


def _raiser() -> Handler:
    first: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if first and (number != signal.SIGINT or time.monotonic() < first[0] + AGAIN):
            return
        first.append(time.monotonic())
        raise Stopped(number)

    return stop


def finish_quietly() -> None:
    """From here on nothing is lost by a signal and nothing more is printed: Ctrl-C while Python shuts down leaves no traceback.

    What a full disk behind standard error has left unprinted is dropped: Python would try again, and end with exit code 120.
    """
    if threading.current_thread() is threading.main_thread():
        for number in WORDS:
            if signal.getsignal(number) is _leave:
                signal.signal(number, signal.SIG_IGN)
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            discard_output(2)


# -- standard streams


_ours: list[bool] = []
"""Holds True if the standard streams are this command's until the process ends."""


def occupy_closed_streams() -> None:
    """Opens /dev/null in place of closed standard streams: else the next file that is opened would be taken for one of them."""
    _ours.append(True)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def accept_any_text() -> None:
    """Makes the standard streams print characters that their encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def only_results() -> Iterator[TextIO | None]:
    """A stream to standard output for the results of the block. Whatever else is printed there goes to standard error.

    So a plugin that prints cannot spoil what a program reads, whether it uses Python, the system or C. In a process of the command
    line this lasts until the end: C code keeps its text until then, and a plugin may print when Python shuts down.
    """
    before = sys.stdout
    results, saved = before, None
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or no stream of the system's, as in a notebook
        if before.fileno() == 1:
            before.flush()
            saved = os.dup(1)
            results = open(os.dup(1), "w", encoding=before.encoding, errors=before.errors)
            os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield results
    finally:
        sys.stdout = before
        if saved is not None:
            with contextlib.suppress(OSError, ValueError):
                before.flush()
            if not _ours:
                os.dup2(saved, 1)
            os.close(saved)


def discard_output(number: int = 1) -> None:
    """Leaves unprinted what a standard stream still holds: nobody reads the other end, or it cannot be written."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)


if is_command_line():
    handle_signals()
