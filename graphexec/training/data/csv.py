"""Reads arrays from .csv files: rows of numbers, with or without a header line. Errors name the line.

The delimiter is the most frequent of comma, semicolon and tab in the first line. If the first line has no number, it is the
header with the names of the columns.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from graphexec.errors import DataError
from graphexec.ir.function import Leaf
from graphexec.system_errors import unreadable
from graphexec.training.data.npy import Source

Array = np.ndarray


class Columns(Source):
    """A CSV file: one array of rows and columns, or some columns by the names in the header or by number."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._table: Array | None = None
        with _open_text(path) as stream:
            first = _first_line(stream, path)
        self._delimiter = max(",;\t", key=first.count)
        cells = [c.strip() for c in next(csv.reader([first], delimiter=self._delimiter))]
        self._header = cells if any(cells) and not any(_is_number(c) for c in cells) else []

    def names(self) -> list[str]:
        return [h for h in self._header if h]

    def whole(self, leaf: Leaf) -> Array:
        return _as_declared(self.table(), leaf)

    def array(self, name: str, leaf: Leaf) -> Array:
        """Selects columns: ``label``, ``a,b,c``, or by number from 0, ``64`` and ``0:64``."""
        table = self.table()
        if name in self._header:
            return _as_declared(table[:, [self._header.index(name)]], leaf)
        picked = [k for part in name.split(",") for k in self._columns(part.strip(), table.shape[1])]
        return _as_declared(table[:, picked], leaf)

    def _columns(self, part: str, count: int) -> Sequence[int]:
        if part in self._header:
            return [self._header.index(part)]
        if re.fullmatch(r"\d+", part) and int(part) < count:
            return [int(part)]
        found = re.fullmatch(r"(\d*):(\d*)", part)
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
            try:
                self._table = np.loadtxt(
                    self.path,
                    delimiter=self._delimiter,
                    skiprows=0 if not self._header else self._lines_before_data(),
                    ndmin=2,
                    comments=None,
                    quotechar='"',
                    encoding="utf-8-sig",
                )
            except UnicodeDecodeError as error:
                raise DataError("the file is not UTF-8 text", source=str(self.path), todo="Save it as UTF-8.") from error
            except OSError as error:
                raise unreadable(self.path, error) from error
            except ValueError as error:
                raise self._bad_cell(error) from error
            if self._table.size == 0:
                raise DataError("the file has no row of numbers", source=str(self.path), todo="Give at least one row.")
        return self._table

    def _lines_before_data(self) -> int:
        with _open_text(self.path) as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    if not any(rest.strip() for rest in stream):
                        raise DataError(
                            "the file has no row of numbers", source=f"{self.path}:{number}", todo="Give at least one row."
                        )
                    return number
        raise AssertionError("the file has a first line")

    def _bad_cell(self, error: Exception) -> DataError:
        """Builds the error for the first cell that is not a number or the first row of another length, with its line."""
        width = None
        skip = self._lines_before_data() if self._header else 0
        with _open_text(self.path) as stream:
            reader = csv.reader(stream, delimiter=self._delimiter)
            for cells in reader:
                place = f"{self.path}:{reader.line_num}"
                if reader.line_num <= skip or not any(c.strip() for c in cells):
                    continue
                for k, cell in enumerate(cells):
                    if not _is_number(cell):
                        column = f"{k + 1} ({self._header[k]!r})" if k < len(self._header) else str(k + 1)
                        what = f"{cell.strip()[:40]!r} is not a number" if cell.strip() else "the cell is empty"
                        return DataError(
                            f"column {column}: {what}",
                            source=place,
                            todo="Make every cell a number, except in a header line.",
                        )
                width = len(cells) if width is None else width
                if len(cells) != width:
                    return DataError(
                        f"the row has {len(cells)} cells, not {width}",
                        source=place,
                        todo="Give every row as many cells as the first.",
                    )
        return DataError(f"the file cannot be read: {error}", source=str(self.path), todo="Make every cell a number.")


def _open_text(path: Path) -> IO[str]:
    try:
        return open(path, encoding="utf-8-sig", newline="")
    except OSError as error:
        raise unreadable(path, error) from error


def _first_line(stream: IO[str], path: Path) -> str:
    try:
        for line in stream:
            if line.strip():
                return line
    except UnicodeDecodeError as error:
        raise DataError("the file is not UTF-8 text", source=str(path), todo="Save it as UTF-8.") from error
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
