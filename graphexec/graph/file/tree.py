"""A text file as a tree of items that know their line: the one model behind YAML and JSON graph files.

YAML is read from its event stream and JSON from its tokens, both without recursion, so that a hostile file meets the
limits on depth and size and not the interpreter's stack. Scalars follow YAML 1.2's core schema, JSON's superset:
``1e-3`` is a number, ``on`` and ``yes`` are strings. Keys are always strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, NoReturn

from graphexec.errors import GraphFileError, with_hint

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 50
MAX_ITEMS = 2_000_000
_NAMES_COMPARED = 20_000  # comparing a misspelt name with more would take seconds

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", "+.inf", ".Inf", ".INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


class Scalar:
    """A text; ``plain`` where it is not quoted, and so may stand for a number, a boolean or null."""

    __slots__ = ("last", "line", "plain", "text")

    def __init__(self, text: str, plain: bool, line: int, last: int | None = None) -> None:
        self.text, self.plain, self.line, self.last = text, plain, line, last or line


class Sequence:
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
    """The file that is read: its name for places, its text, and the errors at its lines."""

    def __init__(self, name: str, text: str, json: bool = False) -> None:
        self.name, self.text, self.json = name, text, json

    def place(self, line: int | None) -> str:
        return f"{self.name}:{line}" if line else self.name

    def fail(
        self, line: int | None, what: str, *, todo: str | None = None, facts: Iterable[str] = (), node: str | None = None
    ) -> NoReturn:
        """*Raises* GraphFileError at a line."""
        raise GraphFileError(what, source=self.place(line), todo=todo, facts=facts, node=node)

    def unknown(self, line: int, what: str, word: str, known: Iterable[str], **more: Any) -> NoReturn:
        """*Raises* GraphFileError for a wrong word, with the nearest right one."""
        known = list(islice(known, _NAMES_COMPARED))
        listed = f"Known: {', '.join(map(repr, known))}." if 0 < len(known) <= 12 else None
        self.fail(line, with_hint(f"{what} {word!r}", word, known), **{"todo": listed, **more})

    def line_of(self, item: Scalar, offset: int) -> int:
        """The line of a character of a scalar that may span several.

        Folding changes line breaks into spaces, so characters that are not space are counted; quoted scalars may hold
        escapes, and are told by their first line.
        """
        if item.last <= item.line:
            return item.line
        lines = self.text.split("\n", item.last)[item.line - 1 : item.last]
        begin = lines[0].rstrip()
        if not item.plain:
            block = re.search(r"[|>][-+0-9]*\s*(?:#.*)?$", begin)
            return item.line + 1 + item.text.count("\n", 0, offset) if block and "|" in begin else item.line
        first = item.text.split(maxsplit=1)[0] if item.text.strip() else ""
        lines[0] = begin[begin.rfind(first) :] if first in begin else begin
        before = len(re.sub(r"\s", "", item.text[:offset]))
        for number, text in enumerate(lines):
            before -= len(re.sub(r"\s", "", text))
            if before < 0:
                return item.line + number
        return item.last


def fail_depth(page: Page, line: int | None) -> NoReturn:
    """*Raises* GraphFileError: there is a limit, so that no file can exhaust the stack."""
    page.fail(line, f"lists and mappings are nested deeper than {MAX_DEPTH}", todo="Graph files are flat.")


class TreeBuilder:
    """Puts a tree together from its parts in reading order, within the limits."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root: Item | None = None
        self.stack: list[Sequence | Mapping] = []
        self.key: str | None = None
        self.count = 0
        self.cut: Scalar | None = None  # a call in { } that ends at a comma, for now
        self.joined = False
        self.end = 0

    @property
    def wants_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1], Mapping) and self.key is None

    def scalar(self, text: str, plain: bool, line: int, last: int | None = None, begin: int = 0, end: int = 0) -> None:
        if self.joined:
            self._end_join(text, plain, line)
        elif self.cut is not None and self.wants_key and plain:
            self._join(self.cut, text, last or line, begin, end)
        elif self.wants_key:
            self._begin_entry(text, line)
        else:
            self._add(item := Scalar(text, plain, line, last), line)
            top = self.stack[-1] if self.stack else None
            self.cut = item if isinstance(top, Mapping) and top.flow and plain and _is_open(text) else None
            self.end = end

    def _join(self, cut: Scalar, text: str, last: int, begin: int, end: int) -> None:
        """To YAML, ``{a: f(x, y)}`` is a mapping of ``a`` to ``f(x`` and of ``y)`` to nothing; nobody means that."""
        gap = self.page.text[self.end : begin]
        cut.text += (gap if gap.strip() == "," else ", ") + text
        cut.last, self.end, self.joined = last, end, True

    def _end_join(self, text: str, plain: bool, line: int) -> None:
        """The nothing that follows. *Raises* GraphFileError when something does."""
        assert self.cut is not None
        if text or not plain:
            self.page.fail(line, f"cannot read {shorten(self.cut.text)!r}: ')' is missing", todo="Inside { } quote calls.")
        self.joined = False
        self.cut = self.cut if _is_open(self.cut.text) else None

    def open(self, item: Sequence | Mapping) -> None:
        """*Raises* GraphFileError when it stands as a key or too deep."""
        if self.joined:
            self._end_join("...", False, item.line)
        if self.wants_key:
            todo = "Inside { } quote calls." if self.cut is not None else None
            self.page.fail(item.line, "a key must be a text, not a list or a mapping", todo=todo)
        self.cut = None
        self._add(item, item.line)
        self.stack.append(item)
        if len(self.stack) > MAX_DEPTH:
            fail_depth(self.page, item.line)

    def close(self) -> None:
        self.stack.pop()
        self.cut = None

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


def _is_open(text: str) -> bool:
    return "(" in text and text.count("(") > text.count(")")


def resolve(page: Page, item: Scalar) -> Any:
    """What a scalar stands for: None, a boolean, an int, a float or a text. *Raises* GraphFileError for a number too large."""
    text = item.text
    if not item.plain or (text and text[0].isalpha() and text not in _WORDS):
        return text
    if text in _WORDS:
        return _WORDS[text]
    return number(page, text, item.line)


def number(page: Page, text: str, line: int) -> Any:
    """A number, or the text itself where it is none. *Raises* GraphFileError when it fits no 64 bits."""
    if _INTEGER.fullmatch(text):
        # the length is looked at first: Python refuses to convert thousands of digits
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
    """A subtree as plain data; its depth is bounded, so recursion is safe."""
    if isinstance(item, Scalar):
        return resolve(page, item)
    if isinstance(item, Sequence):
        return [plain(page, i) for i in item.items]
    return {k: plain(page, i) for k, i in item.items.items()}


def kind_name(page: Page, item: Item) -> str:
    """How an error calls what stands there: ``the number 3``, ``a list``."""
    if not isinstance(item, Scalar):
        return "a list" if isinstance(item, Sequence) else "a mapping"
    value = resolve(page, item)
    if value is None:
        return "null" if item.text else "nothing"
    if isinstance(value, str):
        return f"the text {shorten(value)!r}"
    return f"{'the boolean' if isinstance(value, bool) else 'the number'} {item.text}"


def shorten(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
