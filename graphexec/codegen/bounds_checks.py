"""bounds_checks: lets Numba compile array accesses that check their indices, in a function and in all that it calls.

Numba decides this by a setting of the process, so it is set only while one function is compiled, under the toolchain's lock.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba

from graphexec.llvm.toolchain import LOCK


@contextmanager
def indices_checked(function: Callable[..., Any]) -> Iterator[None]:
    """What is compiled within it checks its indices. ``function``, whose globals are its own, calls nothing compiled before."""
    settings: Any = numba.config
    with LOCK:
        _renew(function.__globals__, function.__code__, {})
        before = getattr(settings, "BOUNDSCHECK", None)
        settings.BOUNDSCHECK = 1
        try:
            yield
        finally:
            settings.BOUNDSCHECK = before


def _renew(known: dict[str, Any], code: types.CodeType, made: dict[Any, Any]) -> None:
    """Replaces Numba's functions that code names by copies, because the originals may be compiled without checks already."""
    for name in code.co_names:
        found = known.get(name)
        plain, options = getattr(found, "py_func", None), getattr(found, "targetoptions", None)
        if isinstance(plain, types.FunctionType) and isinstance(options, dict):
            if found not in made:
                own = dict(plain.__globals__)
                copy = types.FunctionType(plain.__code__, own, plain.__name__, plain.__defaults__, plain.__closure__)
                copy.__kwdefaults__, copy.__module__ = plain.__kwdefaults__, plain.__module__
                kept = {key: value for key, value in options.items() if key not in ("nopython", "cache", "boundscheck")}
                made[found] = numba.njit(**kept)(copy)
                _renew(own, copy.__code__, made)
            known[name] = made[found]
