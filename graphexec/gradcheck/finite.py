"""What keeps a central difference from being a number: NaN or infinity in the data, or a node that makes it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphexec.errors import DataError
from graphexec.gradcheck.problem import Problem
from graphexec.interpret import forward
from graphexec.ir.function import ABSENT, Node


def obstacle(problem: Problem) -> DataError | None:
    """The error that names the first NaN or infinity on the way to the value that is differentiated; None if there is none."""
    values = forward(problem.fn, problem.leaves)
    needed = _ancestors(problem)
    for leaf in problem.fn.leaves:
        where = _first(values[leaf.value_id]) if leaf.value_id in needed and leaf.role != "constant" else None
        if where is not None:
            return DataError(
                f"{leaf.role} {leaf.name!r} holds {_shown(values[leaf.value_id], where)}, so gradients cannot be compared there",
                source=leaf.location,
                todo="Give finite values." if leaf.role == "input" else "Give finite initial values or weights.",
            )
    for node in problem.fn.nodes:
        for value in node.outputs:
            where = _first(values[value]) if value in needed else None
            if where is not None and all(_first(values[v]) is None for v in node.inputs if v != ABSENT):
                return _made_by(node, problem, values, value, where)
    return None


def _made_by(node: Node, problem: Problem, values: Mapping[int, np.ndarray], value: int, where: tuple[int, ...]) -> DataError:
    names = problem.fn.names
    operands = [v for v in dict.fromkeys(node.inputs) if v != ABSENT and values[v].size and values[v].dtype.kind == "f"]
    return DataError(
        f"the result is {_shown(values[value], where)} though all operands are finite, so gradients cannot be compared there",
        node=node.name,
        op=node.op.name,
        source=node.location,
        facts=[f"{names[v]!r} lies between {np.min(values[v]):.6g} and {np.max(values[v]):.6g}" for v in operands],
        todo="Give inputs for which the loss is a finite number.",
    )


def _ancestors(problem: Problem) -> set[int]:
    needed = {problem.of}
    for node in reversed(problem.fn.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(v for v in node.inputs if v != ABSENT)
    return needed


def _first(array: np.ndarray) -> tuple[int, ...] | None:
    """The index of the first element that is NaN or infinite."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    return tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])


def _shown(array: np.ndarray, where: tuple[int, ...]) -> str:
    """``nan at index (1, 2)``, with the number of others."""
    others = int(np.count_nonzero(~np.isfinite(array))) - 1
    place = f" at index {where}" if where else ""
    return f"{array[where]:g}{place}" + (f" (and {others} more)" if others else "")
