"""Puts the statements of a function before those of another, so that what it returned is computed from its operands."""

from __future__ import annotations

import ast
import builtins
import copy
from collections.abc import Sequence
from typing import Any

from graphexec.autodiff.scalar.rules import assign, load
from graphexec.autodiff.scalar.variables import NotDifferentiable

PREFIX = "forward_"


def inlined(tree: ast.FunctionDef, scope: dict[str, Any], results: Sequence[str], other: dict[str, Any]) -> list[ast.stmt]:
    """The statements of a function, which assign what it would return to ``results``.

    Its own variables and the names of its scope get a prefix; the latter are added to the scope ``other``.

    *Raises* NotDifferentiable for a return inside a loop.
    """
    body = _assigning(tree.body, results, tree.lineno)
    parameters = {a.arg for a in (*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs)}
    names = [n for statement in body for n in ast.walk(statement) if isinstance(n, ast.Name)]
    stored = {n.id for n in names if isinstance(n.ctx, ast.Store)} - set(results)
    changed = stored & parameters
    for node in names:
        if node.id in stored or (node.id in scope and node.id not in parameters and node.id not in results):
            if node.id not in stored:
                other[PREFIX + node.id] = scope[node.id]
            node.id = PREFIX + node.id
        elif node.id in scope and node.id not in parameters and not hasattr(builtins, node.id):
            other.setdefault(node.id, scope[node.id])
    return [assign([PREFIX + p], [load(p)]) for p in sorted(changed)] + body


def _assigning(body: Sequence[ast.stmt], results: Sequence[str], line: int) -> list[ast.stmt]:
    """Statements in which each return is an assignment; what follows an ``if`` that may return moves into its branches."""
    written: list[ast.stmt] = []
    for k, node in enumerate(body):
        if isinstance(node, ast.Return):
            assert node.value is not None
            return [*written, assign(list(results), [node.value])]
        if isinstance(node, ast.If) and _returns(node):
            rest = body[k + 1 :]
            sides = [_assigning([*side, *copy.deepcopy(rest)], results, line) for side in (node.body, node.orelse)]
            return [*written, ast.If(node.test, *sides, lineno=node.lineno)]
        if _returns(node):
            raise NotDifferentiable("a return inside a loop", node.lineno)
        written.append(node)
    return written


def _returns(node: ast.stmt) -> bool:
    return any(isinstance(n, ast.Return) for n in ast.walk(node))
