"""im2col: patches of images for convolutions, as LLVM IR: the elements that each window sees, as columns of a matrix, and back.

    im2col(image, patches, low, high, first, last, sizes, kernel, windows, strides, padding, dilations, lowest)

A row of the patches is one element of the window, (channel, plane, row, column) counted in row-major order; rows `low` to
`high` of windows `first` to `last` are written side by side. An image is (channels, planes, rows, columns), contiguous; outside it
is 0, or -inf where `lowest` is not 0. From `sizes` to `dilations` each is three numbers. `col2im` adds patches to the image
instead. Every argument is an int64. Along a row of windows, elements are copied in vectors of decreasing width, also for stride 2:
rows of images are short, and a remainder loop would take most of the time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from llvmlite import ir

from graphexec.gemm.emitter import Emitter, Int, shuffle

ARGUMENTS = 25


class _Segment(NamedTuple):
    """Windows `start` to `stop` of one row; those from `begin` to `end` see the image, the others see padding."""

    start: Int
    begin: Int
    end: Int
    stop: Int
    patch: Int
    """Address of the patch element of column 0."""
    image: Int
    """Address of the image element that column 0 sees."""


class Patches(Emitter):
    """im2col and col2im for one target."""

    def im2col(self) -> Any:
        def act(part: _Segment, step: Int, lowest: Int) -> None:
            self._fill(part.patch, part.start, part.begin, lowest)
            self._move(self._copy, part, step)
            self._fill(part.patch, part.end, part.stop, lowest)

        return self._function("im2col", act)

    def col2im(self) -> Any:
        return self._function("col2im", lambda part, step, _: self._move(self._add, part, step))

    def _function(self, name: str, act: Callable[[_Segment, Int, Int], None]) -> Any:
        def body(builder: Any, *values: Any) -> None:
            image, patches, low, high, first, last, *rest, lowest = (Int(builder, v) for v in values)
            sizes, kernel, outs, strides, padding, dilations = (rest[k : k + 3] for k in range(0, 18, 3))
            item = self.target.item
            with low.to(high) as k:
                column, place = k % kernel[2], k // kernel[2]
                row, place = place % kernel[1], place // kernel[1]
                plane, channel = place % kernel[0], place // kernel[0]
                offset = column * dilations[2] - padding[2]
                begin = (offset >= 0).pick(0, (strides[2] - 1 - offset) // strides[2])
                end = (offset < sizes[2]).pick((sizes[2] - 1 - offset) // strides[2] + 1, 0)
                base = patches + ((k - low) * (last - first) - first) * item
                with self._rows(first, last, outs) as (i, j):
                    z = i * strides[0] + plane * dilations[0] - padding[0]
                    y = j * strides[1] + row * dilations[1] - padding[1]
                    inside = (z >= 0) & (z < sizes[0]) & (y >= 0) & (y < sizes[1])
                    at = (i * outs[1] + j) * outs[2]
                    start, stop = _at_least(first - at, 0), (last - at).at_most(outs[2])
                    seen = inside.pick(_at_least(begin, start).at_most(stop), stop)
                    part = _Segment(
                        start, seen, inside.pick(_at_least(end.at_most(stop), seen), stop), stop, base + at * item,
                        image + (((channel * sizes[0] + z) * sizes[1] + y) * sizes[2] + offset) * item,
                    )  # fmt: skip
                    act(part, strides[2], lowest)

        return self.function(name, ARGUMENTS, body)

    @contextmanager
    def _rows(self, first: Int, last: Int, outs: Sequence[Int]) -> Iterator[tuple[Int, Int]]:
        """Loops over the rows of windows, (plane, row), that windows `first` to `last` touch, without divisions in the loops."""
        top, bottom = first // outs[2], (last - 1) // outs[2] + 1
        with (top // outs[1]).to((bottom - 1) // outs[1] + 1) as i:
            above = i * outs[1]
            with _at_least(top - above, 0).to((bottom - above).at_most(outs[1])) as j:
                yield i, j

    def _fill(self, patch: Int, start: Int, stop: Int, lowest: Int) -> None:
        builder = patch.builder
        values = (ir.Constant(self.element, v) for v in (float("-inf"), 0.0))
        value = builder.select(lowest.differs(0).value, *values)
        with start.to(stop) as i:
            builder.store(value, self.at(builder, patch.value, i.value))

    def _move(self, act: Callable[[Int, Int, int, int], None], part: _Segment, step: Int) -> None:
        """Applies `act` to the elements that see the image."""
        item = self.target.item
        count, patch, image = part.end - part.begin, part.patch + part.begin * item, part.image + part.begin * step * item
        with step.equals(1).either() as (near, far):
            with near:
                self._row(act, count, patch, image, 1)
            with far, step.equals(2).either() as (pairs, others):
                with pairs:
                    self._row(act, count, patch, image, 2)
                with others, count.each() as i:
                    act(patch + i * item, image + i * step * item, 1, 1)

    def _row(self, act: Callable[[Int, Int, int, int], None], count: Int, patch: Int, image: Int, step: int) -> None:
        """Vectors, then half of one, a quarter, ..., down to one element."""
        item, lanes = self.target.item, max(self.target.lanes, 4)
        done = count & -lanes
        with done.each(lanes) as i:
            act(patch + i * item, image + i * (step * item), lanes, step)
        while lanes > 1:
            lanes //= 2
            some = count & lanes
            with some.differs(0).holds():
                act(patch + done * item, image + done * (step * item), lanes, step)
            done = done + some

    def _copy(self, patch: Int, image: Int, lanes: int, step: int) -> None:
        builder = patch.builder
        value, _ = self._seen(image, lanes, step)
        self.store(builder, value, self.at(builder, patch.value))

    def _add(self, patch: Int, image: Int, lanes: int, step: int) -> None:
        builder = patch.builder
        value, halves = self._seen(image, lanes, step)
        total = builder.fadd(value, self.load(builder, self.at(builder, patch.value), lanes=lanes))
        if not halves:
            self.store(builder, total, self.at(builder, image.value))
        for start, half in zip((0, lanes - 1), halves, strict=False):  # the elements in between are stored unchanged
            mixed = [lanes + (start + j) // 2 if (start + j) % 2 == 0 else j for j in range(lanes)]
            self.store(builder, shuffle(builder, half, total, mixed), self.at(builder, image.value, start))

    def _seen(self, image: Int, lanes: int, step: int) -> tuple[Any, list[Any]]:
        """Loads elements 1 or 2 apart; for 2 also gives the vectors that hold them, which overlap to end at the last element."""
        builder = image.builder
        if step == 1 or lanes == 1:
            return self.load(builder, self.at(builder, image.value), lanes=lanes), []
        halves = [self.load(builder, self.at(builder, image.value, start), lanes=lanes) for start in (0, lanes - 1)]
        evens = [2 * j if 2 * j < lanes else 2 * j + 1 for j in range(lanes)]
        return shuffle(builder, halves[0], halves[1], evens), halves


def _at_least(x: Int, least: "Int | int") -> Int:
    return (x > least).pick(x, least)
