"""Removes from a generated function the statements that no result depends on."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence


def prune(body: list[ast.stmt]) -> list[ast.stmt]:
    """Removes assignments that no result depends on."""
    read: set[str] = set()
    size = -1
    while size < len(read):
        size = len(read)
        _mark(body, read)
    return list(_kept(body, read))


def names_read(nodes: Sequence[ast.AST]) -> set[str]:
    """Returns the names that nodes of a syntax tree read."""
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _needed(node: ast.stmt, read: set[str]) -> bool:
    if isinstance(node, (ast.Assign, ast.AugAssign)):
        target = node.target if isinstance(node, ast.AugAssign) else node.targets[0]
        return any(isinstance(n, ast.Name) and n.id in read for n in ast.walk(target))
    if isinstance(node, (ast.If, ast.While, ast.For)):
        return any(_needed(s, read) for s in (*node.body, *node.orelse))
    return True


def _mark(body: Sequence[ast.stmt], read: set[str]) -> None:
    for node in body:
        if not _needed(node, read):
            continue
        if isinstance(node, (ast.If, ast.While, ast.For)):
            read |= names_read([node.iter if isinstance(node, ast.For) else node.test])
            _mark(node.body, read)
            _mark(node.orelse, read)
        else:
            read |= names_read([node])


def _kept(body: Sequence[ast.stmt], read: set[str]) -> Iterator[ast.stmt]:
    for node in body:
        if _needed(node, read):
            if isinstance(node, (ast.If, ast.While, ast.For)):
                node.body = list(_kept(node.body, read)) or [ast.Pass()]
                node.orelse = list(_kept(node.orelse, read))
            yield node
