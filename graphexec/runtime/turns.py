"""Turns: orders the Python threads that call one executable, so that each call has the executable's memory to itself.

The threads stand in a queue, and the first one is inside. Appending to it and taking its head away are atomic, and take a fraction
of the time of a lock: the calls of an executable that only one thread uses must not pay for the others. Whoever leaves wakes the
next, so that a thread that calls in a loop does not starve the others.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from graphexec.errors import GraphExecError

MAX_WAIT_SECONDS = 0.5
"""A thread that waits looks again after this time, in case an interrupt kept another one from waking it."""


class Visitor:
    """A thread at an executable. A subclass keeps what the thread's calls left behind."""

    def __init__(self) -> None:
        self.bell = threading.Lock()
        """Released to wake the thread."""
        self.bell.acquire()

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it rang already
            self.bell.release()


Kind = TypeVar("Kind", bound=Visitor)


class Visitors(threading.local, Generic[Kind]):
    """``visitor``: the calling thread's own."""

    def __init__(self, kind: type[Kind]) -> None:
        self.visitor = kind()


class Turns(Generic[Kind]):
    """Admits one thread at a time; for each it makes a visitor of that kind.

    `alone` is the form for everything but the calls that must be quick. Those write it out: append the visitor to ``queue``, call
    `wait` unless it is first, and in the end take it away and call `wake` if others are there; after an exception, `abandon`.
    """

    def __init__(self, kind: type[Kind]) -> None:
        self.visitors = Visitors(kind)
        self.queue: deque[Kind] = deque()
        """The thread that is inside, and those that wait."""
        _remember(self)

    def __reduce__(self) -> tuple[Any, ...]:
        raise stays("a compiled program belongs to its process's memory", "Send the executable, which is compiled again there.")

    @contextlib.contextmanager
    def alone(self) -> Iterator[Kind]:
        """Within it, no other thread is inside. Inside a call of the same thread, as in a signal handler, it has no effect."""
        me = self.visitors.visitor
        if self.is_inside(me):
            yield me
            return
        try:
            self.queue.append(me)
            self.wait(me)
            yield me
        finally:
            self.abandon(me)

    def is_inside(self, me: Kind) -> bool:
        try:
            return self.queue[0] is me
        except IndexError:
            return False

    def wait(self, me: Kind) -> None:
        """Returns when a thread that has queued is first."""
        while self.queue[0] is not me:
            me.bell.acquire(timeout=MAX_WAIT_SECONDS)

    def wake(self) -> None:
        """Wakes the first in the queue."""
        try:
            first = self.queue[0]
        except IndexError:
            return
        first.wake()

    def abandon(self, me: Kind) -> None:
        """Ends a turn, or the wait for one, however it ended."""
        with contextlib.suppress(ValueError):
            self.queue.remove(me)
        self.wake()

    def forget_others(self) -> None:
        """In a forked child, where only the thread that forked goes on."""
        inside = self.is_inside(self.visitors.visitor)
        self.queue.clear()
        if inside:
            self.queue.append(self.visitors.visitor)


def nested() -> GraphExecError:
    """The error for a call that begins inside another call of the same thread."""
    return GraphExecError(
        "this executable is in the middle of a call of the same thread",
        todo="Do not call it from a signal handler, a finalizer or the conversion of an input: set a flag there and call it later.",
    )


def stays(why: str, todo: str) -> GraphExecError:
    """The error for what cannot be copied or sent to another process."""
    return GraphExecError(f"{why}, which cannot be copied or sent to another process", todo=todo)


_all: list[weakref.WeakSet[Turns[Any]]] = []


def _remember(turns: Turns[Any]) -> None:
    if not _all:
        _all.append(weakref.WeakSet())
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget_others)
    _all[0].add(turns)


def _forget_others() -> None:
    for turns in list(_all[0]):
        turns.forget_others()
