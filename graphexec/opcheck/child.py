"""Runs a check in a child process with a time limit, so that a crash or a hang of an op becomes a finding."""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

Send = Callable[[Mapping[str, Any]], None]


COMPILING = 6


class Ended(NamedTuple):
    """How a child ended: all messages that it sent, and the text of what ended it; "" if it finished."""

    messages: list[dict[str, Any]]
    trouble: str


def isolated(work: Callable[[Send], None], seconds: float) -> Ended:
    """Runs ``work`` in a forked child, which sends messages; it is ended when it sends none for so many seconds.

    Unless its last message is that a kernel runs, it may be compiling, and gets COMPILING times as many.

    Where processes cannot be forked, it runs in this one.
    """
    if not hasattr(os, "fork"):
        messages: list[dict[str, Any]] = []
        work(lambda message: messages.append(dict(message)))
        return Ended(messages, "")
    sys.stdout.flush()
    sys.stderr.flush()
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        _be_child(work, writable)
    os.close(writable)
    try:
        messages, hung = _listen(readable, seconds)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(readable)
    if hung:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if hung:
        return Ended(messages, f"gives no answer for {seconds:g} seconds or longer: it hangs, or takes very long")
    if os.WIFSIGNALED(status):
        return Ended(messages, f"crashes: the process ends by {signal.Signals(os.WTERMSIG(status)).name}")
    code = os.WEXITSTATUS(status)
    return Ended(messages, f"ends the process with exit code {code}" if code else "")


def _be_child(work: Callable[[Send], None], writable: int) -> None:
    """The child's part; never returns."""
    code = 1
    try:
        os.dup2(2, 1)  # what an op prints is no result
        faulthandler.disable()  # a crash is told by the parent
        warnings.simplefilter("ignore")  # NumPy warns of what is tried on purpose
        with open(writable, "w", encoding="utf-8") as stream:

            def send(message: Mapping[str, Any]) -> None:
                stream.write(json.dumps(message) + "\n")
                stream.flush()

            work(send)
        code = 0
    except MemoryError:
        code = 12
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _listen(readable: int, seconds: float) -> tuple[list[dict[str, Any]], bool]:
    messages: list[dict[str, Any]] = []
    rest, until = b"", time.monotonic() + COMPILING * seconds
    while True:
        ready, _, _ = select.select([readable], [], [], max(until - time.monotonic(), 0))
        if not ready:
            return messages, True
        got = os.read(readable, 1 << 16)
        if not got:
            return messages, False
        *lines, rest = (rest + got).split(b"\n")
        messages += [json.loads(line) for line in lines]
        running = bool(messages) and "running" in messages[-1]
        until = time.monotonic() + (seconds if running else COMPILING * seconds)


def resumed(stages: Collection[str], run: Callable[[Collection[str], Send], None], seconds: float, most: int = 6) -> list[Ended]:
    """Runs stages in a child; if one ends it, goes on with those after it in another child, ``most`` times."""
    left, ends = list(stages), []  # type: list[str], list[Ended]
    while left and len(ends) < most:
        now = list(left)
        ended = isolated(lambda send, now=now: run(now, send), seconds)  # type: ignore[misc]
        ends.append(ended)
        if not ended.trouble:
            break
        begun = [m["stage"] for m in ended.messages if "stage" in m]
        reached = begun[-1] if begun else left[0]
        left = left[left.index(reached) + 1 :]
        if sum("no answer" in e.trouble for e in ends) > 1:
            break  # the others would hang as well
    return ends
