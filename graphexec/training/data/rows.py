"""Rows: which rows of which arrays to train on and which to hold out. Arrays are never copied for it, whatever their size.

Rows are counted along the leading dimension that inputs share. To hold out a fraction, the rows are shuffled by the seed alone,
and the last of them are held out; without a shuffle, the last rows of the data. Both parts are indices into the same arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from graphexec.errors import DataError
from graphexec.ir.function import Leaf
from graphexec.ir.spec import shape_text

Array = np.ndarray

HOLD_OUT_STREAM = 0x401D
"""Separates the shuffle before holding out from all other uses of the seed."""


class Rows(Mapping[str, np.ndarray]):
    """Some rows of arrays by input name, in an order of their own: ``arrays[name][index]``, without the copy.

    As a mapping it shows the selected rows, each time as a new array; training reads ``arrays`` through ``index``.
    """

    def __init__(self, arrays: Mapping[str, Array], index: Array, batched: frozenset[str]) -> None:
        self.arrays, self.index, self._batched = arrays, index, batched

    def __getitem__(self, name: str) -> Array:
        array = self.arrays[name]
        return np.asarray(array)[self.index] if name in self._batched else array

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


@dataclass(frozen=True)
class Split:
    """Arrays by input name: rows to train on, and rows held out; ``rows`` counts both."""

    train: Mapping[str, Array]
    held_out: Mapping[str, Array] | None
    rows: tuple[int, int]


def split_rows(
    arrays: Mapping[str, Array], leaves: Mapping[str, Leaf], fraction: float, seed: int, *, shuffle: bool = True
) -> Split:
    """Holds out the last ``fraction`` of the rows after a shuffle by the seed, or of the rows as they are."""
    rows = count_rows(arrays, leaves)
    batched = frozenset(name for name in arrays if is_batched(leaves[name]))
    held = max(round(rows * fraction), 1)
    if not batched or rows - held < 1:
        what = "no input has rows: all leading sizes are fixed" if not batched else f"there are {rows} rows"
        raise DataError(f"cannot hold out {fraction:g} of the data: {what}", todo="Set hold_out: 0, or give hold_out its own data.")
    order = np.arange(rows)
    if shuffle:
        order = np.random.default_rng([seed, HOLD_OUT_STREAM]).permutation(rows)
    parts = (Rows(arrays, np.ascontiguousarray(order[begin:end], np.int64), batched) for begin, end in ((0, -held), (-held, None)))
    return Split(next(parts), next(parts), (rows - held, held))


def count_rows(arrays: Mapping[str, Array], leaves: Mapping[str, Leaf]) -> int:
    """Counts the rows. *Raises* DataError if inputs that share a dimension disagree, or if there are no rows."""
    sizes: dict[str, tuple[int, str]] = {}
    for name, array in arrays.items():
        for axis, (n, size) in enumerate(zip(leaves[name].shape, array.shape, strict=True)):
            if isinstance(n, str) and sizes.setdefault(n, (size, name))[0] != size:
                known, owner = sizes[n]
                raise DataError(
                    f"dimension {n!r} is {known} in {owner!r} and {size} in {name!r}",
                    facts=[
                        f"{i}: {leaves[i].dtype}{shape_text(leaves[i].shape)}, array {shape_text(a.shape)}"
                        for i, a in arrays.items()
                    ],
                    todo=f"Check axis {axis} of {name!r}: arrays that share a dimension must agree.",
                )
    batched = [name for name in arrays if is_batched(leaves[name])]
    rows = len(arrays[batched[0]]) if batched else 1
    if rows == 0:
        raise DataError(
            "the data is empty",
            facts=[f"{batched[0]}: array {shape_text(arrays[batched[0]].shape)}"],
            todo="Give at least one row.",
        )
    return rows


def is_batched(leaf: Leaf) -> bool:
    """Whether the leading axis of an input counts rows: it has a name rather than a size."""
    return bool(leaf.shape) and isinstance(leaf.shape[0], str)
