"""Reads arrays from .csv files: rows of numbers, with or without a header line. Errors name the line.

The delimiter is the most frequent of comma, semicolon and tab in the first line. If the first line has no number, it is the
header with the names of the columns. Whole numbers for an integer input are exact, also beyond 2**53; other numbers are the
nearest of float64.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO

import numpy as np

from graphexec.errors import DataError
from graphexec.ir.function import Leaf
from graphexec.ir.spec import DTYPES
from graphexec.training.data.source import Source, reading

Array = np.ndarray

EXACT = 2.0**52
"""Below this number, float64 tells whole numbers from others."""
INT64 = np.iinfo(np.int64)


class Columns(Source):
    """A CSV file: one array of rows and columns, or some columns by the names in the header or by number."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._table: Array | None = None
        with reading(path):
            with _open_text(path) as stream:
                first, self._first_line = _first_line(stream, path)
            self._delimiter = max(",;\t", key=first.count)
            cells = [c.strip() for c in next(csv.reader([first], delimiter=self._delimiter))]
        self._header = cells if any(cells) and not any(_is_number(c) for c in cells) else []

    def names(self) -> list[str]:
        return [h for h in self._header if h]

    def whole(self, leaf: Leaf) -> Array:
        table = self.table()
        return _as_declared(self._exact(table, range(table.shape[1]), leaf), leaf)

    def array(self, name: str, leaf: Leaf) -> Array:
        """Selects columns: ``label``, ``a,b,c``, or by number from 0, ``64`` and ``0:64``."""
        table = self.table()
        if name in self._header:
            picked = [self._column(name)]
        else:
            picked = [k for part in name.split(",") for k in self._columns(part.strip(), table.shape[1])]
        return _as_declared(self._exact(table[:, picked], picked, leaf), leaf)

    def _column(self, name: str) -> int:
        if self._header.count(name) > 1:
            raise DataError(
                f"the file has {self._header.count(name)} columns {name!r}",
                source=str(self.path),
                todo=f"Select it by number, such as {self._header.index(name)}.",
            )
        return self._header.index(name)

    def _columns(self, part: str, count: int) -> Sequence[int]:
        if part in self._header:
            return [self._column(part)]
        if re.fullmatch(r"[0-9]{1,9}", part) and int(part) < count:
            return [int(part)]
        found = re.fullmatch(r"([0-9]{0,9}):([0-9]{0,9})", part)
        if found:
            return range(count)[slice(*(int(g) if g else None for g in found.groups()))]
        if not self._header:
            raise DataError(
                f"the file has no column {part!r}: its first line has no names",
                source=str(self.path),
                todo=f"Select columns by number, 0 to {count - 1}: '0:{count - 1}' or '{count - 1}'.",
            )
        raise self.unknown(part, "column")

    def table(self) -> Array:
        """Returns all rows and columns; reads the file at the first call."""
        if self._table is None:
            with reading(self.path):
                self._table = self._read()
        return self._table

    def _read(self) -> Array:
        if self._header and not any(True for _ in self._rows()):
            raise DataError(
                "the file has no row of numbers", source=f"{self.path}:{self._first_line}", todo="Give at least one row."
            )
        try:
            table = np.loadtxt(
                self.path,
                delimiter=self._delimiter,
                skiprows=self._first_line if self._header else 0,
                ndmin=2,
                comments=None,
                quotechar='"',
                encoding="utf-8-sig",
            )
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise self._bad_cell(error) from error
        if table.size == 0:
            raise DataError("the file has no row of numbers", source=str(self.path), todo="Give at least one row.")
        if self._header and len(self._header) != table.shape[1]:
            raise DataError(
                f"the header names {len(self._header)} columns, and the rows have {table.shape[1]} cells",
                source=f"{self.path}:{self._first_line}",
                todo="Give every column a name, or none.",
            )
        if np.isinf(table).any():
            self._refuse_overflow()
        return table

    def _rows(self) -> Iterator[tuple[str, list[str]]]:
        """Returns the place and the cells of each row after the header; empty lines are no rows."""
        with _open_text(self.path) as stream:
            reader = csv.reader(stream, delimiter=self._delimiter)
            for cells in reader:
                empty = not cells or (len(cells) == 1 and not cells[0].strip())
                if not empty and not (self._header and reader.line_num <= self._first_line):
                    yield f"{self.path}:{reader.line_num}", cells

    def _name(self, k: int) -> str:
        return f"column {k + 1} ({self._header[k]!r})" if k < len(self._header) else f"column {k + 1}"

    def _bad_cell(self, error: Exception) -> DataError:
        """Builds the error for the first cell that is not a number or the first row of another length, with its line."""
        width = None
        for place, cells in self._rows():
            for k, cell in enumerate(cells):
                if not _is_number(cell):
                    what = f"{cell.strip()[:40]!r} is not a number" if cell.strip() else "the cell is empty"
                    todo = "Make every cell a number, except in a header line."
                    return DataError(f"{self._name(k)}: {what}", source=place, todo=todo)
            width = len(cells) if width is None else width
            if len(cells) != width:
                return DataError(
                    f"the row has {len(cells)} cells, not {width}", source=place, todo="Give every row as many cells as the first."
                )
        return DataError(f"the file cannot be read: {str(error)[:200]}", source=str(self.path), todo="Make every cell a number.")

    def _refuse_overflow(self) -> None:
        for place, cells in self._rows():
            for k, cell in enumerate(cells):
                if _is_number(cell) and math.isinf(float(cell)) and any(c.isdigit() for c in cell):
                    raise DataError(
                        f"{self._name(k)}: {cell.strip()[:40]} overflows float64", source=place, todo="Write inf if you mean it."
                    )

    def _exact(self, columns: Array, picked: Sequence[int], leaf: Leaf) -> Array:
        """Returns the columns; for an integer input as int64, if float64 does not hold their numbers exactly."""
        if DTYPES.get(leaf.dtype) != "i" or not (np.abs(columns) >= EXACT).any():
            return columns
        with reading(self.path):
            rows = [[self._integer(cells[k], k, place) for k in picked] for place, cells in self._rows()]
            return np.array(rows, np.int64).reshape(columns.shape)

    def _integer(self, cell: str, k: int, place: str) -> int:
        try:
            number = Decimal(cell.strip())
            huge = not number.is_finite() or number.adjusted() > 20
            value = INT64.max + 1 if huge else int(number)
        except (InvalidOperation, ValueError):
            raise DataError(f"{self._name(k)}: {cell.strip()[:40]!r} is not a number", source=place, todo="Write digits.") from None
        if not INT64.min <= value <= INT64.max or value != number:
            what = "is not a whole number" if not huge and value != number else "is too large for int64"
            raise DataError(f"{self._name(k)}: {cell.strip()[:40]} {what}", source=place, todo="Declare the input as float64.")
        return value


def _open_text(path: Path) -> IO[str]:
    return open(path, encoding="utf-8-sig", newline="")


def _first_line(stream: IO[str], path: Path) -> tuple[str, int]:
    """Returns the first line that is not empty, and its number."""
    for number, line in enumerate(stream, 1):
        if line.strip():
            return line, number
    raise DataError("the file is empty", source=str(path), todo="Give at least one row.")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _as_declared(table: Array, leaf: Leaf) -> Array:
    """Reshapes a table to the axes that the input declares where their sizes are clear; returns other tables unchanged."""
    if len(leaf.shape) == 1 and (table.shape[1] == 1 or table.shape == (1, leaf.shape[0])):
        return table.reshape(-1)
    if len(leaf.shape) == 0 and table.size == 1:
        return table.reshape(())
    rest = [n for n in leaf.shape[1:] if isinstance(n, int)]
    if len(leaf.shape) > 2 and len(rest) == len(leaf.shape) - 1 and table.shape[1] == math.prod(rest):
        return table.reshape(-1, *rest)
    return table
