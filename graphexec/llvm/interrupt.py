"""interrupt: delays Ctrl-C and other signals until native code is compiled.

Numba and LLVM run Python in callbacks and destructors; an exception raised there is printed and lost.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def held_back() -> Iterator[None]:
    """Notes signals that have a handler in Python and raises them again at the end. Does nothing in threads that get no signals."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handled = [number for number, handler in before.items() if callable(handler)]  # the others are ignored, or end the process
    if threading.current_thread() is not threading.main_thread() or not handled:
        yield
        return
    noted: list[int] = []
    for number in handled:
        signal.signal(number, lambda found, frame: noted.append(found))
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
        for number in dict.fromkeys(noted):
            signal.raise_signal(number)
