"""Represents YAML and JSON graph files by one kind of tree, whose items know their lines.

YAML events and JSON tokens are read without recursion, so that a hostile file reaches the limits on depth and size before it
exhausts the interpreter's stack. Scalars follow the core schema of YAML 1.2, a superset of JSON: ``1e-3`` is a number, ``on``
and ``yes`` are strings. Keys are always strings.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property
from itertools import islice
from typing import Any, NoReturn

from graphexec.errors import GraphFileError, with_hint

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 50
MAX_ITEMS = 2_000_000
_NAMES_COMPARED = 20_000  # comparing a misspelled name with more names would take seconds

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_SPACES = re.compile(r"\s*+")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", "+.inf", ".Inf", ".INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


class Scalar:
    """The text of a scalar; ``plain`` if it is not quoted and may therefore be a number, a boolean or null."""

    __slots__ = ("last", "line", "plain", "starts", "text")

    def __init__(self, text: str, plain: bool, line: int, last: int | None = None) -> None:
        self.text, self.plain, self.line, self.last = text, plain, line, last or line
        self.starts: list[int] | None = None  # of its lines, in its text; see `Page.line_of`


class Sequence:
    """The items of a list."""

    __slots__ = ("items", "line")

    def __init__(self, line: int) -> None:
        self.items: list[Item] = []
        self.line = line


class Mapping:
    """Items by key, in order, and the line of each key."""

    __slots__ = ("flow", "items", "line", "lines")

    def __init__(self, line: int, flow: bool = False) -> None:
        self.flow = flow  # written as {a: 1}
        self.items: dict[str, Item] = {}
        self.lines: dict[str, int] = {}
        self.line = line


Item = Scalar | Sequence | Mapping


class Page:
    """The file being read: its name, its text, and errors at its lines."""

    def __init__(self, name: str, text: str, json: bool = False) -> None:
        self.name, self.text, self.json = name, text, json

    def place(self, line: int | None) -> str:
        """Returns ``file:line``, or the file alone if the line is not known."""
        return f"{self.name}:{line}" if line else self.name

    def fail(
        self, line: int | None, what: str, *, todo: str | None = None, facts: Iterable[str] = (), node: str | None = None
    ) -> NoReturn:
        """*Raises* GraphFileError at a line."""
        raise GraphFileError(what, source=self.place(line), todo=todo, facts=facts, node=node)

    def unknown(self, line: int, what: str, word: str, known: Iterable[str], **more: Any) -> NoReturn:
        """*Raises* GraphFileError for an unknown word, with the nearest known one."""
        known = list(islice(known, _NAMES_COMPARED))
        listed = f"Known: {', '.join(map(repr, known))}." if 0 < len(known) <= 12 else None
        self.fail(line, with_hint(f"{what} {word!r}", word, known), **{"todo": listed, **more})

    def line_of(self, item: Scalar, offset: int) -> int:
        """Returns the line of a character in a scalar that may span several; the first if it is quoted and may hold escapes."""
        if item.last <= item.line:
            return item.line
        if item.starts is None:
            item.starts = self._line_starts(item)
        return item.line + bisect_right(item.starts, offset) - 1 if item.starts else item.line

    def _line_starts(self, item: Scalar) -> list[int]:
        """The offsets in the scalar's text at which its lines begin; none for one in quotes, which may hold escapes."""
        lines = self.lines[item.line - 1 : item.last]
        begin = lines[0].rstrip()
        if not item.plain:
            block = re.search(r"[|>][-+0-9]*\s*(?:#.*)?$", begin)
            if block is None or "|" not in block[0]:
                return []
            return [0, 0, *(found.end() for found in re.finditer("\n", item.text))]
        first = item.text.split(maxsplit=1)[0] if item.text.strip() else ""
        lines[0] = begin[begin.rfind(first) :] if first in begin else begin
        starts, at = [], 0
        for text in lines:  # folding turned the space around a line break into one space
            at = _SPACES.match(item.text, at).end() if at < len(item.text) else at  # type: ignore[union-attr]
            starts.append(at)
            at += len(text.strip())
        return [0, *starts[1:]]

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.split("\n")


def fail_depth(page: Page, line: int | None) -> NoReturn:
    """*Raises* GraphFileError for a nesting deeper than the limit, which keeps files from exhausting the stack."""
    page.fail(line, f"lists and mappings are nested deeper than {MAX_DEPTH}", todo="Flatten it.")


class TreeBuilder:
    """Builds a tree from its parts in reading order, within the limits."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root: Item | None = None
        self.stack: list[Sequence | Mapping] = []
        self.key: str | None = None
        self.count = 0
        self.cut: Scalar | None = None  # the first part of a call in { }, which YAML splits at commas
        self.joined = False
        self.parts: list[str] = []  # of the split call
        self.unclosed = 0  # its parentheses
        self.end = 0

    @property
    def wants_key(self) -> bool:
        """Whether the next scalar is a key."""
        return bool(self.stack) and isinstance(self.stack[-1], Mapping) and self.key is None

    def scalar(self, text: str, plain: bool, line: int, last: int | None = None, begin: int = 0, end: int = 0) -> None:
        """Adds a scalar: a key, a value, or a further part of a split call."""
        if self.joined:
            self._end_join(text, plain, line)
        elif self.cut is not None and self.wants_key and plain:
            self._join(self.cut, text, last or line, begin, end)
        elif self.wants_key:
            self._begin_entry(text, line)
        else:
            self._add(item := Scalar(text, plain, line, last), line)
            top = self.stack[-1] if self.stack else None
            self.cut = item if isinstance(top, Mapping) and top.flow and plain and _unclosed(text) > 0 else None
            self.parts, self.unclosed, self.end = [text], _unclosed(text), end

    def _join(self, cut: Scalar, text: str, last: int, begin: int, end: int) -> None:
        """Rejoins a split call: YAML reads ``{a: f(x, y)}`` as ``a`` with value ``f(x`` and ``y)`` with an empty value."""
        gap = self.page.text[self.end : begin]
        self.parts += [gap if gap.strip() == "," else ", ", text]
        self.unclosed += _unclosed(text)
        if self.unclosed <= 0:
            cut.text = "".join(self.parts)
        cut.last, self.end, self.joined = last, end, True

    def _end_join(self, text: str, plain: bool, line: int) -> None:
        """Consumes the empty value after a rejoined part. *Raises* GraphFileError if it is not empty."""
        assert self.cut is not None
        if text or not plain:
            written = shorten("".join(self.parts))
            self.page.fail(line, f"cannot read {written!r}: ')' is missing", todo="Inside { } quote calls.")
        self.joined = False
        if self.unclosed <= 0:
            self._end_cut()

    def _end_cut(self) -> None:
        """Ends a split call; one that stays open is refused when it is read as a call."""
        if self.cut is not None and len(self.parts) > 1:
            self.cut.text = "".join(self.parts)
        self.cut = None

    def open(self, item: Sequence | Mapping) -> None:
        """Opens a list or mapping. *Raises* GraphFileError if it is a key or nested too deeply."""
        if self.joined:
            self._end_join("...", False, item.line)
        if self.wants_key:
            todo = "Inside { } quote calls." if self.cut is not None else None
            self.page.fail(item.line, "a key must be a string, not a list or a mapping", todo=todo)
        self._end_cut()
        self._add(item, item.line)
        self.stack.append(item)
        if len(self.stack) > MAX_DEPTH:
            fail_depth(self.page, item.line)

    def close(self) -> None:
        """Closes the innermost list or mapping."""
        self.stack.pop()
        self._end_cut()

    def _begin_entry(self, key: str, line: int) -> None:
        top = self.stack[-1]
        assert isinstance(top, Mapping)
        if key in top.lines:
            self.page.fail(
                line, f"the key {key!r} is given twice", facts=[f"first in line {top.lines[key]}"], todo="Remove one of them."
            )
        top.lines[key] = line
        self.key = key

    def _add(self, item: Item, line: int) -> None:
        self.count += 1
        if self.count > MAX_ITEMS:
            self.page.fail(line, f"the file has more than {MAX_ITEMS} items", todo="Build a graph of this size with Python.")
        if not self.stack:
            self.root = item
        elif isinstance(top := self.stack[-1], Sequence):
            top.items.append(item)
        else:
            assert self.key is not None
            top.items[self.key], self.key = item, None


def _unclosed(text: str) -> int:
    return text.count("(") - text.count(")")


def resolve(page: Page, item: Scalar) -> Any:
    """Converts a scalar to None, a boolean, an int, a float or a string. *Raises* GraphFileError for a number too large."""
    text = item.text
    if not item.plain or (text and text[0].isalpha() and text not in _WORDS):
        return text
    if text in _WORDS:
        return _WORDS[text]
    return number(page, text, item.line)


def number(page: Page, text: str, line: int) -> Any:
    """Converts text to a number; returns other text unchanged. *Raises* GraphFileError if the number does not fit in 64 bits."""
    if _INTEGER.fullmatch(text):
        # check the length first: Python refuses to convert thousands of digits
        if len(text.lstrip("+-0")) > 19 or not -(2**63) <= int(text) < 2**63:
            page.fail(line, f"the integer {shorten(text)} does not fit in 64 bits", todo="Write it as a float, such as 1e30.")
        return int(text)
    if not _FLOAT.fullmatch(text):
        return text
    value = float(text)
    if value in (float("inf"), float("-inf")):
        page.fail(
            line, f"the number {shorten(text)} does not fit in 64 bits", todo="For infinity write .inf in YAML, inf in a call."
        )
    return value


def plain(page: Page, item: Item) -> Any:
    """Converts a subtree to plain data; its depth is bounded, so recursion is safe."""
    if isinstance(item, Scalar):
        return resolve(page, item)
    if isinstance(item, Sequence):
        return [plain(page, i) for i in item.items]
    return {k: plain(page, i) for k, i in item.items.items()}


def kind_name(page: Page, item: Item) -> str:
    """Describes an item for an error: ``the number 3``, ``a list``."""
    if not isinstance(item, Scalar):
        return "a list" if isinstance(item, Sequence) else "a mapping"
    value = resolve(page, item)
    if value is None:
        return "null" if item.text else "nothing"
    if isinstance(value, str):
        return f"the string {shorten(value)!r}"
    return f"{'the boolean' if isinstance(value, bool) else 'the number'} {item.text}"


def shorten(text: str, most: int = 60) -> str:
    """Truncates text to ``most`` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."
