"""Parses calls written as text, such as ``sgd(lr=0.1)``: accepts literals only and evaluates nothing."""

from __future__ import annotations

import ast
import math
from typing import Any

from graphexec.errors import OpError

WORDS = {"true": True, "false": False, "null": None, "inf": math.inf, "nan": math.nan}
"""Words that are literals, as in graph files, beside Python's True, False and None."""


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
        keywords = {str(k.arg): _literal(k.value) for k in node.keywords}
        return node.func.id, [_literal(a) for a in node.args], keywords
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise refusal from None


class _Words(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(WORDS[node.id]) if node.id in WORDS else node


def _literal(node: ast.expr) -> Any:
    return ast.literal_eval(_Words().visit(node))
