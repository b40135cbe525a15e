"""Results into the caller's arrays: what ``out=`` may be, by NumPy's rules for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from graphexec.errors import DataError
from graphexec.ir.spec import TensorSpec, shape_text
from graphexec.runtime.runner import Runner
from graphexec.runtime.state import unknown

MAX_OVERLAP_WORK: Any = 10_000  # NumPy's stubs know -1 and 0 only
"""Combinations of strides to look at for a common element."""


def check_targets(runner: Runner, out: Any) -> None:
    """Checks that ``out`` maps names of results to arrays that can hold them, and that share no memory.

    An array has the shape of the result and an element type of the same kind, in any layout. *Raises* DataError,
    UnknownNameError.
    """
    if not isinstance(out, Mapping):
        raise DataError(f"out= is not a mapping but {_named(out)}", todo='Give arrays by name: out={"y": array}.')
    for name, target in out.items():
        if name not in runner.results:
            raise unknown("result", name, runner.results)
        _check(name, target, runner.fn.specs[runner.results[name]])
    if len(out) > 1:
        _check_apart(out)


def _check(name: str, target: Any, spec: TensorSpec) -> None:
    if not isinstance(target, np.ndarray) or isinstance(target, np.ma.MaskedArray):
        raise DataError(f"out[{name!r}] is {_named(target)}", todo="Give a NumPy array, without a mask.")
    facts = [f"result {shape_text(spec.shape)} {spec.dtype}", f"given  {shape_text(target.shape)} {target.dtype}"]
    if target.shape != spec.shape:
        raise DataError(f"out[{name!r}] has another shape than the result", facts=facts, todo="Give an array of its shape.")
    if not np.can_cast(spec.dtype, target.dtype, "same_kind"):
        todo = f"Give an array of {spec.dtype}, or of a type that NumPy casts it to."
        raise DataError(f"out[{name!r}] cannot hold {spec.dtype}", facts=facts, todo=todo)
    if not target.flags.writeable:
        raise DataError(f"out[{name!r}] is read-only", facts=facts, todo="Give an array that can be written to.")


def _named(given: Any) -> str:
    return f"an object of type {type(given).__name__}"


def _check_apart(out: Mapping[str, np.ndarray]) -> None:
    begun: list[tuple[int, str]] = []
    for (low, high), name in sorted((byte_bounds(target), name) for name, target in out.items()):
        begun = [(end, other) for end, other in begun if end > low]
        for _, other in begun:
            if _overlap(out[name], out[other]):
                raise DataError(f"out[{other!r}] and out[{name!r}] share memory", todo="Give each result an array of its own.")
        begun.append((high, name))


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays share memory; if that is hard to tell, whether one begins before the other ends."""
    try:
        return bool(np.shares_memory(a, b, max_work=MAX_OVERLAP_WORK))
    except np.exceptions.TooHardError:
        return True


def into(found: dict[str, np.ndarray], out: Mapping[str, np.ndarray]) -> None:
    """Puts the results of a call into the caller's arrays, unless they are there, and those arrays into the results."""
    for name, target in out.items():
        if found[name] is not target:
            np.copyto(target, found[name], casting="same_kind")
        found[name] = target

