"""Stops training that diverges, and keeps the last finite state.

A step whose loss is NaN or infinite ends before its updates. Between epochs the state must be finite as well; then a copy of it is
kept, to which training returns when a later epoch diverges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from graphexec.errors import DivergenceError, KernelError
from graphexec.training.batches import Batches

STEPS = 64
"""Steps between two copies, at least, if nobody looks at the state between epochs."""


class LastFinite:
    """A copy of the state from the end of an epoch that left it finite.

    An array that holds NaN or infinity from the beginning, such as a mask, may do so later.
    """

    def __init__(self, state: Mapping[str, np.ndarray], epoch: int) -> None:
        self._state, self.epoch = dict(state), epoch
        self._copies = {name: array.copy() for name, array in self._state.items()}
        with np.errstate(all="ignore"):
            self._watched = [(n, a) for n, a in self._state.items() if a.dtype.kind == "f" and _is_finite(a)]

    def keep(self, epoch: int) -> str | None:
        """Copies the state after an epoch; if it is not finite, returns the name of such an array instead."""
        with np.errstate(all="ignore"):
            for name, array in self._watched:
                if not _is_finite(array):
                    return name
        for name, array in self._state.items():
            np.copyto(self._copies[name], array)
        self.epoch = epoch
        return None

    def restore(self) -> str:
        """Puts the copy back; returns a line that says which state it is."""
        for name, array in self._state.items():
            np.copyto(array, self._copies[name])
        return f"parameters and optimizer are as after epoch {self.epoch}, the last finite state kept" if self.epoch else (
            "parameters and optimizer are as before training"
        )


def _is_finite(array: np.ndarray) -> bool:
    """Whether all elements are finite; NaN and infinity survive a sum, so that one number tells nearly always."""
    return math.isfinite(np.add.reduce(array, axis=None)) or bool(np.isfinite(array).all())


def stop_at_loss(loss: str, batches: Batches, epoch: int, kept: LastFinite, cause: KernelError) -> NoReturn:
    """*Raises* DivergenceError for a step whose loss is not finite."""
    done = int(batches.cursor) if batches.dimension is not None else 0
    batch = done // batches.size + 1
    facts = [f"epoch {epoch}, batch {batch} of {batches.steps}", *_rows_at_fault(batches, done), kept.restore()]
    raise DivergenceError(
        "the loss is NaN or infinite", node=loss, facts=facts, epoch=epoch, batch=batch,
        todo="Use a smaller learning rate, and look for wrong numbers in the data.",
    ) from cause  # fmt: skip


def keep_finite(kept: LastFinite, batches: Batches, epoch: int) -> None:
    """Keeps the state after an epoch. *Raises* DivergenceError if an array of it is not finite."""
    name = kept.keep(epoch)
    if name is None:
        return
    facts = [f"epoch {epoch}, after batch {batches.steps} of {batches.steps}", kept.restore()]
    raise DivergenceError(
        f"{name!r} holds NaN or infinity after the epoch", node=name, facts=facts, epoch=epoch, batch=batches.steps,
        todo="Use a smaller learning rate.",
    )  # fmt: skip


def _rows_at_fault(batches: Batches, done: int) -> list[str]:
    """Lines about NaN and infinity in the rows of a batch."""
    rows = batches.order[done : done + batches.size]
    lines = []
    for name in batches.compiled.inputs:
        array = batches.arrays.get(f"epoch.data.{name}")
        if array is not None and array.dtype.kind == "f":
            bad = np.argwhere(~np.isfinite(array[rows]))
            if len(bad):
                first, *rest = (int(i) for i in bad[0])
                at = (int(rows[first]), *rest)
                lines.append(f"input {name!r} holds {array[at]} in row {at[0]}" + (f", at {tuple(rest)}" if rest else ""))
    return lines
