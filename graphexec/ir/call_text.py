"""Parses calls written as text, such as ``sgd(lr=0.1)``: accepts literals only and evaluates nothing."""

from __future__ import annotations

import ast
from typing import Any

from graphexec.errors import OpError


def parse_call(text: str, what: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Returns the name and the positional and keyword literals of ``name`` or ``name(1.0, key=literal)``.

    *Raises* OpError, saying ``what`` was expected, when the text is anything else.
    """
    refusal = OpError(f"{text!r} is not {what}", todo="Write a name, or name(key=number, ...).")
    try:
        node = ast.parse(str(text).strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refusal from None
    if isinstance(node, ast.Name):
        return node.id, [], {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or any(k.arg is None for k in node.keywords):
        raise refusal
    try:
        keywords = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
        return node.func.id, [ast.literal_eval(a) for a in node.args], keywords
    except ValueError:
        raise refusal from None
