"""Deltas: what a call of `Executable.gradients` leaves behind for those who ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from graphexec.runtime.runner import Runner
from graphexec.runtime.turns import Turns, stays


class Deltas(Mapping[str, np.ndarray]):
    """δ at each value on which the loss depends, after gradients()."""

    def __init__(self, runner: Runner, turns: Turns[Any]) -> None:
        self._runner, self._turns = runner, turns
        self._copies: dict[str, np.ndarray] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        raise stays("the deltas of an executable are part of its memory", "Send dict(exe.deltas).")

    def copy_from(self, runner: Runner) -> None:
        """Copies the arrays of a runner that is about to run again; any other leaves them as they are."""
        if self._copies is None and runner is self._runner:
            self._copies = {name: self._array(name).copy() for name in self}

    def _array(self, name: str) -> np.ndarray:
        return self._runner.array(self._runner.fn.deltas[name])

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._runner.fn.deltas:
            raise KeyError(f"no delta reaches {name!r}")
        with self._turns.alone():
            return (self._array(name) if self._copies is None else self._copies[name]).copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._runner.fn.deltas)

    def __len__(self) -> int:
        return len(self._runner.fn.deltas)
