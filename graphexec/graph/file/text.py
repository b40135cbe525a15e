"""Parses YAML and JSON text into the tree of `graphexec.graph.file.tree`."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from graphexec.graph.file.tree import Item, Mapping, Page, Sequence, TreeBuilder, fail_depth

_NEAR = 500
"""Characters on either side of a fault that are searched for its cause."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_tree(page: Page) -> Item:
    """Parses a page. *Raises* GraphFileError with the line of text that is not valid YAML or JSON, or that is refused."""
    root = _read_json(page) if page.json else _read_yaml(page)
    if root is None:
        page.fail(1, "the file is empty", todo="Begin the file with graphexec: 1.")
    return root


# -- YAML


def _read_yaml(page: Page) -> Item | None:
    builder = TreeBuilder(page)
    try:
        documents = 0
        for event in yaml.parse(page.text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    page.fail(_line(event), "the file holds several documents", todo="Remove the '---': a file holds one graph.")
            _take(page, builder, event)
    except yaml.YAMLError as error:
        _fail_yaml(page, error)
    return builder.root


def _take(page: Page, builder: TreeBuilder, event: Any) -> None:
    kind = type(event)
    if kind is yaml.AliasEvent or getattr(event, "anchor", None) is not None:
        page.fail(
            _line(event), "YAML anchors and aliases (& and *) are not allowed", todo="Write the value out, or quote the text."
        )
    if kind is yaml.ScalarEvent:
        if event.tag is not None:
            _fail_tag(page, event)
        begin, end = event.start_mark, event.end_mark
        builder.scalar(event.value, event.implicit[0], begin.line + 1, end.line + 1, begin.index, end.index)
    elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
        if event.tag is not None:
            _fail_tag(page, event)
        builder.open(Mapping(_line(event), bool(event.flow_style)) if kind is yaml.MappingStartEvent else Sequence(_line(event)))
    elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
        builder.close()


def _fail_tag(page: Page, event: Any) -> None:
    page.fail(_line(event), f"YAML tags such as {event.tag!r} are not allowed", todo="Remove the tag, or quote the text.")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _fail_yaml(page: Page, error: yaml.YAMLError) -> None:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    line = mark.line + 1 if mark is not None else None
    character = getattr(error, "character", None)
    position = getattr(error, "position", None)
    if line is None and isinstance(position, int):
        line, problem = _bad_character(page, character, problem)
    total = page.text.rstrip("\n").count("\n") + 1
    line = None if line is None else min(line, total)
    text = page.text.split("\n", line)[line - 1] if line else ""
    text = text[max(getattr(mark, "column", 0) - _NEAR, 0) :][: 2 * _NEAR]  # what is searched for hints is short
    if "nesting depth" in problem:  # the parser's own limit, if it is reached before ours
        fail_depth(page, line)
    facts = [text.strip()[:120]] if text.strip() else []
    todo = None
    inside = text.partition("{")[2]
    if re.search(r"\b(?:float32|float64|int32|int64|bool)\s*\[", inside):
        todo = 'Inside { } quote types: {type: "float32[2, 2]"}.'
    elif re.search(r"\w\([^\[{]*[\[{]", inside):
        todo = "Inside { } quote calls."
    elif "\t" in text[: len(text) - len(text.lstrip())]:
        todo = "Indent with spaces, not with tabs."
    page.fail(line, f"not valid YAML: {problem}", facts=facts, todo=todo)


def _bad_character(page: Page, character: Any, problem: str) -> tuple[int | None, str]:
    """Locates a bad character: libyaml gives its position in bytes and the character as a number."""
    try:
        char = character if isinstance(character, str) else chr(int(character))
        at = page.text.index(char)
    except (ValueError, TypeError, OverflowError):
        return None, problem
    return page.text.count("\n", 0, at) + 1, f"the character {char!r} is not allowed"


# -- JSON

_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:
      (?P<mark>[{}\[\],:])
    | (?P<string>"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+")
    | (?P<plain>(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?|true|false|null)(?![\w.+-]))
    | (?P<end>\Z))""",
    re.VERBOSE,
)
_SPACE = re.compile(r"[ \t\r\n]*+")


def _read_json(page: Page) -> Item | None:
    """Parses JSON. The standard parser reports no lines, and accepts duplicate keys and NaN."""
    builder, text, at, line = TreeBuilder(page), page.text, 0, 1
    allowed = "value"
    while True:
        found = _TOKEN.match(text, at)
        begin = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        line += text.count("\n", at, begin)
        if found is None:
            _fail_json(page, line, text, begin, allowed)
            raise AssertionError
        kind, token = str(found.lastgroup), found[str(found.lastgroup)]
        if kind == "end":
            if allowed == "end" or (builder.root is None and not text.strip()):
                return builder.root
            _fail_json(page, line, text, begin, allowed)
        allowed = _take_json(page, builder, kind, token, line, allowed) or _fail_json(page, line, text, begin, allowed)
        at = found.end()


def _take_json(page: Page, builder: TreeBuilder, kind: str, token: str, line: int, allowed: str) -> str | None:
    """Processes a token; returns the tokens allowed next, or None if this one is not allowed here."""
    if kind == "mark":
        return _take_mark(builder, token, line, allowed)
    if kind == "string" and allowed in ("value", "value or ]", "key", "key or }"):
        value = json.loads(token) if "\\" in token else token[1:-1]
        if "\\" in token and any("\ud800" <= c <= "\udfff" for c in value):
            page.fail(line, "invalid JSON: half of a surrogate pair in a string")
        builder.scalar(value, False, line)
        return "':'" if allowed.startswith("key") else _after(builder)
    if kind == "plain" and allowed.startswith("value"):
        builder.scalar(token, True, line)
        return _after(builder)
    return None


def _take_mark(builder: TreeBuilder, token: str, line: int, allowed: str) -> str | None:
    if token in "{[" and allowed.startswith("value"):
        builder.open(Mapping(line) if token == "{" else Sequence(line))
        return "key or }" if token == "{" else "value or ]"
    if token == ":" and allowed == "':'":
        return "value"
    if token == "," and allowed.startswith("','"):
        return "value" if isinstance(builder.stack[-1], Sequence) else "key"
    if token in "}]" and allowed.endswith(token):
        builder.close()
        return _after(builder)
    return None


def _after(builder: TreeBuilder) -> str:
    if not builder.stack:
        return "end"
    return "',' or ]" if isinstance(builder.stack[-1], Sequence) else "',' or }"


def _fail_json(page: Page, line: int, text: str, begin: int, allowed: str) -> str:
    rest = text[begin : begin + 30].split("\n")[0]
    expected = {"value": "a value", "value or ]": "a value or ']'", "key": 'a "key"', "key or }": "a \"key\" or '}'",
                "',' or ]": "',' or ']'", "',' or }": "',' or '}'", "end": "the end of the file"}.get(allowed, allowed)  # fmt: skip
    page.fail(
        line, f"invalid JSON: expected {expected}, found {rest!r}" if rest else f"invalid JSON: expected {expected}, found the end"
    )
