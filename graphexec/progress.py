"""progress: what long work says on standard error: a bar on a terminal, otherwise a line now and then.

Whoever starts the work decides with `showing` whether it says anything; whoever does it passes what it works on through `watch`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

SECONDS = 1.0
"""Work that takes less says nothing."""

_shown = ContextVar("graphexec_progress", default=False)


@contextmanager
def showing(shown: bool = True) -> Iterator[None]:
    """Long work inside the block says how far it is if ``shown``, or if a block around it has asked for this."""
    before = _shown.set(shown or _shown.get())
    try:
        yield
    finally:
        _shown.reset(before)


def has_terminal() -> bool:
    """Whether standard error is a terminal of known size that can return to a line's start, as a progress bar needs."""
    if sys.stderr is None or os.environ.get("TERM") == "dumb":
        return False
    try:
        return sys.stderr.isatty() and min(os.get_terminal_size(sys.stderr.fileno())) > 0
    except (OSError, ValueError):
        return False


def watch(stage: str, items: Sequence[T], unit: str = "node", name: Callable[[T], str] | None = None) -> Iterable[T]:
    """The items; tells how many are done, and the ``name`` of the one at work, while they are taken, after a second."""
    if not _shown.get() or sys.stderr is None:
        return items
    return _bar(stage, items, unit, name) if has_terminal() else _lines(stage, items, unit, name)


def _bar(stage: str, items: Sequence[T], unit: str, name: Callable[[T], str] | None) -> Iterator[T]:
    from tqdm import tqdm

    large = len(items) > 10_000
    with tqdm(
        items, desc=stage, unit=unit, unit_scale=large, delay=SECONDS, leave=False, file=sys.stderr, dynamic_ncols=True
    ) as bar:
        for item in bar:
            if name is not None:
                bar.set_postfix_str(name(item), refresh=False)
            yield item


def _lines(stage: str, items: Sequence[T], unit: str, name: Callable[[T], str] | None) -> Iterator[T]:
    """A line after a second, then ever more rarely, so that a log stays short."""
    begin, wait = time.monotonic(), SECONDS
    for done, item in enumerate(items):
        if time.monotonic() - begin >= wait:
            at = f", now {name(item)}" if name is not None else ""
            with suppress(OSError, ValueError):  # nobody reads it any more: the work goes on
                print(f"{stage}: {done} of {len(items)} {unit}s done{at}", file=sys.stderr, flush=True)
            wait = 2 * (time.monotonic() - begin) + 4 * SECONDS
        yield item
