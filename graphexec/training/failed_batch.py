"""Says where in the data a training step failed: epoch, batch and row."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from graphexec.errors import GraphExecError, KernelError
from graphexec.ir.function import ABSENT
from graphexec.runtime.runner import Runner

MAX_ELEMENTS_SHOWN = 8
"""A row with at most that many elements is shown."""


class Place(Protocol):
    """The state of a pass over the data; its cursor stays at the batch that failed."""

    dimension: str | None
    steps: int
    batch: int
    cursor: np.ndarray
    permutation: np.ndarray


def located(error: KernelError, place: Place, runner: Runner, epoch: int) -> KernelError:
    """Adds epoch, batch and row to the facts of an error."""
    first = int(place.cursor)
    where = [f"epoch {epoch}"] * (epoch > 0) + [f"batch {first // place.batch + 1} of {place.steps}"]
    found = _failing_row(runner, place.dimension)
    if found is not None:
        row, shown = found
        where.append(f"row {int(place.permutation[first + row])} of the data, counted from 0{shown}")
    error.facts.append(", ".join(where))
    return error


def _failing_row(runner: Runner, dimension: str | None) -> tuple[int, str] | None:
    """The first row of the batch on which the failed op also fails alone, and its elements; None if there is no such row."""
    node = runner.failed
    specs = [None if v == ABSENT else runner.fn.specs[v] for v in node.inputs]
    by_row = [s is not None and bool(s.shape) and getattr(s.shape[0], "expression", "") == dimension for s in specs]
    if not any(by_row):
        return None
    operands = [None if v == ABSENT else runner.array(v).copy() for v in node.inputs]

    def fails(start: int, end: int) -> bool:
        part = [a[start:end] if cut and a is not None else a for a, cut in zip(operands, by_row, strict=True)]
        try:
            node.op(*part, **node.attributes)
        except KernelError:
            return True
        except GraphExecError:
            pass
        return False

    rows = next(len(a) for a, cut in zip(operands, by_row, strict=True) if cut and a is not None)
    low, high = 0, rows
    while low + 1 < high and fails(0, high):
        middle = (low + high) // 2
        low, high = (low, middle) if fails(low, middle) else (middle, high)
    if not fails(low, low + 1):
        return None
    pairs = [(p, a[low]) for p, a, cut in zip(node.op.inputs, operands, by_row, strict=False) if cut and a is not None]
    return low, "".join(f", {p} = {value.tolist()}" for p, value in pairs if value.size <= MAX_ELEMENTS_SHOWN)
