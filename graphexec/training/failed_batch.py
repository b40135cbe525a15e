"""Says where in the data a training step failed: epoch, batch and row."""

from __future__ import annotations

from graphexec.errors import GraphExecError, KernelError
from graphexec.ir.function import ABSENT, RUN_HOOK
from graphexec.runtime.runner import Runner
from graphexec.training.batches import Batches

MAX_ELEMENTS_SHOWN = 8
"""A row with at most that many elements is shown."""


def located(error: KernelError, batches: Batches, runner: Runner, epoch: int) -> KernelError:
    """Adds epoch, batch and row to the facts of an error; the cursor is still at the batch that failed."""
    first = int(batches.cursor) if batches.dimension is not None else 0
    where = [f"epoch {epoch}"] * (epoch > 0) + [f"batch {first // batches.size + 1} of {batches.steps}"]
    found = _shown_row(error, batches, runner, first) or _failing_row(runner, batches.dimension)
    if found is not None:
        row, shown = found
        where.append(f"row {int(batches.order[first + row])} of the data, counted from 0{shown}")
    error.facts.append(", ".join(where))
    return error


def _shown_row(error: KernelError, batches: Batches, runner: Runner, first: int) -> tuple[int, str] | None:
    """The row of the element that the error shows, which it then shows by its place in the data; None if it shows none."""
    if error.operand is None or not error.index:
        return None
    shape = runner.fn.specs[runner.fn.value_id(error.operand)].shape
    if getattr(shape[0], "expression", "") != batches.dimension:
        return None
    row, *rest = error.index
    for k, fact in enumerate(error.facts):
        shown = f"{error.operand}[{', '.join(map(str, error.index))}]"
        if fact.startswith(shown):
            place = ", ".join(map(str, (int(batches.order[first + row]), *rest)))
            error.facts[k] = f"{error.operand}[{place}]{fact[len(shown):]}"
    return row, ""


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
            with RUN_HOOK.checking(runner.checked):  # an index out of range must not reach memory here either
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
