"""Formats arrays and tables for the terminal and for JSON."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

DIGITS = {"float32": 9, "float64": 17}
"""Significant digits that distinguish any two numbers of a type."""


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str]) -> str:
    """Formats a plain ASCII table; text is left-aligned, columns of numbers right-aligned."""
    width = len(headers)
    aligned = ["right" if rows and all(_is_number(r[k]) for r in rows) else "left" for k in range(width)]
    return tabulate(
        [[_cell(c) for c in r] for r in rows], headers=headers, tablefmt="simple", colalign=aligned, disable_numparse=True
    )


def fitted(rows: Sequence[Sequence[str]], headers: Sequence[str], shortened: Mapping[int, int]) -> str:
    """A table of texts that is no wider than the terminal; without one, nothing is cut.

    ``shortened`` has the columns to cut, in this order, and how wide each stays at least; if that is too wide, lines are cut.
    """
    width = terminal_width()
    if width is None:
        return table(rows, headers)
    wide = [max(map(columns, (headers[k], *(row[k] for row in rows)))) for k in range(len(headers))]
    for k, least in shortened.items():
        excess = sum(wide) + 2 * (len(wide) - 1) - width
        wide[k] -= max(min(excess, wide[k] - least), 0)
    text = table([[cut(cell, n) for cell, n in zip(row, wide, strict=True)] for row in rows], headers)
    return "\n".join(cut(line, width) for line in text.splitlines())


def terminal_width() -> int | None:
    """The number of columns of the terminal that standard output is; None if it is none."""
    try:
        return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None
    except ValueError:  # it is closed
        return None


def columns(text: str) -> int:
    """The number of columns that a text takes on a terminal: two for each wide character, none for marks on others."""
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    return 0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis if it takes more columns."""
    if columns(text) <= width:
        return text
    kept, left = "", width - 1
    for character in text:
        left -= _columns(character)
        if left < 0:
            break
        kept += character
    return f"{kept}…" if width > 0 else ""


def _is_number(cell: Any) -> bool:
    return cell is None or isinstance(cell, (int, float))


def _cell(cell: Any) -> str:
    return "" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def norm(array: np.ndarray) -> float:
    """Returns ‖a‖, the root of the sum of squares, in float64."""
    return float(np.linalg.norm(np.asarray(array, dtype=np.float64).reshape(-1)))


def summary(array: np.ndarray, values_up_to: int = 10) -> dict[str, Any]:
    """Returns element type, shape, min, mean, max and norm; also the values of a small array."""
    wide = np.asarray(array, dtype=np.float64)
    found: dict[str, Any] = {"dtype": array.dtype.name, "shape": [int(n) for n in array.shape]}
    if array.size:
        with np.errstate(all="ignore"):
            found |= {"min": float(wide.min()), "mean": float(wide.mean()), "max": float(wide.max()), "norm": norm(array)}
    if array.size <= values_up_to:
        found["values"] = array.tolist()
    return found


def full(array: np.ndarray) -> str:
    """Prints every element with all digits of its type: ``[[0.5, -1], [2, 3]]``."""
    if array.ndim == 0:
        value = array.item()
        return str(value) if array.dtype.name not in DIGITS else f"{value:.{DIGITS[array.dtype.name]}g}"
    return f"[{', '.join(full(np.asarray(a)) for a in array)}]"


def shape(sizes: Sequence[Any]) -> str:
    """Formats a shape."""
    from graphexec.ir.spec import shape_text

    return shape_text(int(n) if not isinstance(n, str) else n for n in sizes)


def seconds(value: float) -> str:
    """Formats a time in the largest unit that gives at least 1."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"
