"""Parses calls in graph files: ``linear(x, w, b)``, ``sum(multiply(c, c), axis=[0, 1])``, ``normal(std=0.02)``.

    call     = name "(" [argument ("," argument)*] [","] ")"
    argument = [name "="] (call | name | literal)
    literal  = number | string | true | false | null | inf | nan | "[" literals "]"

The parser accepts a fixed set of tokens and never evaluates anything. Names may contain letters of any alphabet, digits, ``_``
and dots between parts (``swish.backward``, ``loss.1``); ``:k`` selects output k. Python's True, False and None are accepted
too, and so are ``.inf`` and ``.nan``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from graphexec.graph.file.tree import MAX_DEPTH, Page, Scalar, number, shorten

WORDS: dict[str, Any] = {
    "true": True, "True": True, "false": False, "False": False, "null": None, "None": None,
    "inf": math.inf, "nan": math.nan, ".inf": math.inf, ".nan": math.nan,
}  # fmt: skip
"""Words read as literals; only the mapping form of a node can refer to a value with such a name."""

NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*(?::[0-9]{1,9})?")
_TOKEN = re.compile(
    rf"""\s*+(?:
      (?P<infinite>[-+]?\.?(?:inf|nan)(?![\w.:(=]))
    | (?P<number>[-+]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][-+]?[0-9]++)?(?![\w.]))
    | (?P<name>{NAME.pattern})
    | (?P<string>'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+")
    | (?P<mark>[()\[\],=])
    | (?P<end>\Z))""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", "'": "'", '"': '"'}


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a value."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal's value; a list is a tuple."""

    value: Any
    line: int


@dataclass(frozen=True, slots=True)
class Call:
    """An op's name and its arguments, each with its keyword or None."""

    op: str
    arguments: list[tuple[str | None, Expression]]
    line: int

    def names(self) -> list[str]:
        """Returns all value names in the call, nested calls included."""
        found = []
        for _, argument in self.arguments:
            found += argument.names() if isinstance(argument, Call) else [argument.text] if isinstance(argument, Name) else []
        return found


Expression = Call | Name | Literal


def read_call(page: Page, item: Scalar) -> Call:
    """Parses the call in a scalar. *Raises* GraphFileError with the line, even within a scalar of several lines."""
    return _Reader(page, item).whole()


class _Reader:
    """A recursive-descent parser with one token of lookahead."""

    def __init__(self, page: Page, item: Scalar) -> None:
        self.page, self.item, self.text, self.at, self.depth = page, item, item.text, 0, 0
        self.several = item.last > item.line or "\n" in item.text
        self.advance()

    def advance(self) -> None:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            rest = self.text[self.at :].lstrip()
            self.at = self.begin = len(self.text) - len(rest)
            what = "an unterminated string" if rest[:1] in ("'", '"') else repr(shorten(rest, 20))
            self.fail(f"unexpected {what}")
        self.kind = str(found.lastgroup)
        self.token, self.begin, self.at = found[self.kind], found.start(self.kind), found.end()

    @property
    def line(self) -> int:
        return self.page.line_of(self.item, self.begin) if self.several else self.item.line

    def fail(self, what: str, todo: str = "Write a call as op(value, ..., attribute=literal).") -> NoReturn:
        self.page.fail(self.line, f"cannot read {shorten(self.text)!r}: {what}", todo=todo)

    def whole(self) -> Call:
        if self.kind not in ("name", "infinite"):
            self.fail("it does not start with the name of an op")
        name, line = self.token, self.line
        self.advance()
        if self.token != "(":
            self.fail("it is not a call", f"Write {name}(...) with its operands.")
        call = self.call(name, line)
        if self.kind != "end":
            self.fail(f"unexpected {self.token!r} after the call")
        return call

    def call(self, name: str, line: int) -> Call:
        """Parses the arguments, starting at the parenthesis after the op's name."""
        if ":" in name:
            self.fail(f"{name!r} is not the name of an op")
        self.enter()
        arguments: list[tuple[str | None, Expression]] = []
        while self.token != ")" or self.kind != "mark":
            arguments.append(self.argument())
            self.separator(")")
        self.leave()
        return Call(name, arguments, line)

    def argument(self) -> tuple[str | None, Expression]:
        if self.kind != "name":
            return None, self.literal()
        name, line = self.token, self.line
        self.advance()
        if self.kind == "mark" and self.token == "=":
            self.advance()
            return name, self.argument_value()
        return None, self.after_name(name, line)

    def argument_value(self) -> Expression:
        if self.kind != "name":
            return self.literal()
        name, line = self.token, self.line
        self.advance()
        return self.after_name(name, line)

    def after_name(self, name: str, line: int) -> Expression:
        if self.kind == "mark" and self.token == "(":
            return self.call(name, line)
        return Literal(WORDS[name], line) if name in WORDS else Name(name, line)

    def literal(self) -> Literal:
        line = self.line
        if self.kind == "mark" and self.token == "[":
            self.enter()
            values = []
            while self.token != "]" or self.kind != "mark":
                values.append(self.literal().value)
                self.separator("]")
            self.leave()
            return Literal(tuple(values), line)
        value = self.simple()
        self.advance()
        return Literal(value, line)

    def simple(self) -> Any:
        if self.kind == "number":
            return number(self.page, self.token, self.line)
        if self.kind == "infinite":
            return float(self.token.replace(".", ""))
        if self.kind == "string":
            return self.string()
        if self.kind == "name" and self.token in WORDS:
            return WORDS[self.token]
        if self.kind == "name":
            self.fail(f"{self.token!r} is not a literal, and a list holds only literals")
        self.fail("it ends too early" if self.kind == "end" else f"unexpected {self.token!r}")

    def string(self) -> str:
        def escape(found: re.Match[str]) -> str:
            code = found[1]
            if len(code) == 1 and code in _ESCAPES:
                return _ESCAPES[code]
            if len(code) == 1 or int(code[1:], 16) > 0x10FFFF:
                self.fail(f"unknown escape {found[0]!r} in a string")
            return chr(int(code[1:], 16))

        return _ESCAPE.sub(escape, self.token[1:-1])

    def separator(self, close: str) -> None:
        if self.kind == "mark" and self.token == ",":
            self.advance()
        elif self.kind != "mark" or self.token != close:
            found = "it ends too early" if self.kind == "end" else f"unexpected {self.token!r}"
            self.fail(f"{found}, expected ',' or {close!r}")

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"calls and lists are nested deeper than {MAX_DEPTH}", "Give the inner ones nodes of their own.")
        self.advance()

    def leave(self) -> None:
        self.depth -= 1
        self.advance()
