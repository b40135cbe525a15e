"""How the threads divide an operand among themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

UNLIMITED_THREADS = 1 << 16
"""More threads than a pool can have."""


class Partition(NamedTuple):
    """An operand divided into ``units`` parts, ``pitch`` bytes apart.

    Thread i of n touches the parts from ``units * i // n`` to ``units * (i + 1) // n`` and nothing else.
    """

    units: int
    pitch: int
    reach: int
    """Bytes from the first element of a part to its last; fewer than ``pitch``."""
    threads: int
    """The partition holds for at most this many threads."""


def partition_along(
    sizes: Sequence[int], moves: Sequence[int], axis: int, unit: int = 1, threads: int = UNLIMITED_THREADS
) -> Partition | None:
    """Divides an operand along an axis at multiples of ``unit`` indices; None if its parts would overlap or interleave.

    ``moves`` are the bytes from one element to the next along each axis.
    """
    if not moves or any(m < 0 for m in moves):
        return None
    axis %= len(sizes)
    inside = sum((n - 1) * m for k, (n, m) in enumerate(zip(sizes, moves, strict=True)) if k != axis)
    move = moves[axis]
    if inside >= move:
        return None
    return Partition(-(-sizes[axis] // unit), unit * move, inside + (unit - 1) * move, threads)
