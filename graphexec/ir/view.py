"""View: a value's memory with other sizes and strides, so that rearranging data costs nothing.

Transposing, slicing, broadcasting and reshaping write nothing: their output is their input's buffer with other
strides, as in NumPy. Elementwise kernels and matrix products read any strides; if a kernel needs contiguous
memory, the engine copies first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from graphexec.errors import ShapeError
from graphexec.ir.spec import Size, is_one, shape_text


class NotAView(Exception):
    """The result needs a contiguous copy: strides alone cannot express it."""


class View(NamedTuple):
    """Sizes, strides (in elements) and offset (in elements) of a value inside its buffer."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @classmethod
    def contiguous(cls, shape: Sequence[int]) -> View:
        """The row-major view of a whole buffer."""
        return cls(tuple(shape), contiguous_strides(shape))

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements are adjacent in row-major order."""
        expected = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1 and stride != expected:
                return 0 in self.shape
            expected *= int(n)
        return True

    def permute(self, axes: Sequence[int]) -> View:
        """Reorders axes: axis ``i`` of the result is axis ``axes[i]`` of this view."""
        if sorted(a % self.ndim if -self.ndim <= a < self.ndim else -1 for a in axes) != list(range(self.ndim)):
            raise ShapeError(
                f"axes {tuple(axes)} are not a permutation of the axes of {shape_text(self.shape)}",
                todo="Name each axis once.",
            )
        return View(tuple(self.shape[a] for a in axes), tuple(self.strides[a] for a in axes), self.offset)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def slice(self, axis: int, start: int, stop: int, step: int = 1) -> View:
        """Takes elements ``start, start+step, ...`` before ``stop`` of one axis; bounds must be clipped to the axis."""
        n = len(range(start, stop, step))
        size = self.shape[axis] if (start, step) == (0, 1) and stop == self.shape[axis] else n
        axis %= self.ndim
        step = step if n > 1 or abs(step) <= self.shape[axis] else 1  # a stride that nothing uses could exceed 64 bits
        return View(
            (*self.shape[:axis], size, *self.shape[axis + 1 :]),
            (*self.strides[:axis], self.strides[axis] * step, *self.strides[axis + 1 :]),
            self.offset + start * self.strides[axis],
        )

    def drop(self, axis: int) -> View:
        """Drops an axis of size 1."""
        axis %= self.ndim
        return View(self.shape[:axis] + self.shape[axis + 1 :], self.strides[:axis] + self.strides[axis + 1 :], self.offset)

    def insert(self, axis: int) -> View:
        """Inserts an axis of size 1, which becomes ``axis`` of the result."""
        axis = axis % (self.ndim + 1)
        return View((*self.shape[:axis], 1, *self.shape[axis:]), (*self.strides[:axis], 0, *self.strides[axis:]), self.offset)

    def broadcast(self, shape: Sequence[int]) -> View:
        """Broadcasts as NumPy's broadcast_to: repeats missing leading axes and axes of size 1 with stride 0.

        *Raises* ShapeError when another axis differs.
        """
        lead = len(shape) - self.ndim
        strides = [0] * len(shape)
        ok = lead >= 0
        for axis, n in enumerate(self.shape):
            target = shape[lead + axis] if ok else -1
            if n == target:
                strides[lead + axis] = self.strides[axis]
            elif n != 1:
                ok = False
        if not ok:
            raise ShapeError(
                f"{shape_text(self.shape)} does not broadcast to {shape_text(shape)}",
                todo="Make sizes equal or 1, counted from the last axis.",
            )
        return View(tuple(shape), tuple(strides), self.offset)

    def reshape(self, shape: Sequence[int]) -> View:
        """Reshapes to other sizes in row-major order; one size may be -1.

        *Raises* ShapeError when the number of elements differs, NotAView when strides cannot express the result.
        """
        sizes = resolve_reshape(self.shape, shape)
        if not self.is_contiguous:
            raise NotAView
        return View(sizes, contiguous_strides(sizes), self.offset)


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(int(shape[axis + 1]), 1)
    return tuple(strides)


def resolve_reshape(old: Sequence[int], new: Sequence[int]) -> tuple[int, ...]:
    """Resolves the -1 in the sizes of a reshape. An unchanged named axis keeps its name."""
    total, known = _product(old), _product([n for n in new if n != -1])
    sizes = list(new)
    fits = known == total
    if sizes.count(-1) == 1:
        fits = known != 0 and total % known == 0
        if fits:
            sizes[sizes.index(-1)] = total // known
    if not fits or any(n < 0 for n in sizes):
        raise ShapeError(
            f"cannot reshape {shape_text(old)} into {shape_text(new)}",
            facts=[f"{math.prod(int(n) for n in old)} elements before, {int(known)} after"],
            todo="Keep the number of elements; one size may be -1.",
        )
    by_value = {int(n): n for n in old if isinstance(n, Size)}
    return tuple(n if is_one(n) else by_value.get(int(n), n) for n in sizes)


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for n in sizes:
        total = n * total if isinstance(n, Size) else total * n
    return total


def collapse(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Collapses loops: drops axes of declared size 1, and merges neighbouring axes if the strides of every operand allow it."""
    sizes: list[int] = []
    moves: list[list[int]] = [[] for _ in strides]
    for axis, n in enumerate(shape):
        if is_one(n):
            continue
        if sizes and all(m[-1] == s[axis] * n for m, s in zip(moves, strides, strict=True)):
            sizes[-1] *= int(n)
            for m, s in zip(moves, strides, strict=True):
                m[-1] = s[axis]
        else:
            sizes.append(int(n))
            for m, s in zip(moves, strides, strict=True):
                m.append(s[axis])
    if not sizes:
        return [1], [[1] for _ in strides]
    return sizes, moves
