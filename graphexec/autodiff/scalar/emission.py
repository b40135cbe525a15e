"""emit: writes the statements that compute a node of a dag.

What is read more than once gets a variable. What only one side of a selection reads is computed in a branch, so that the other
side does not cost or fail where its value is not wanted. Attributes are known when a kernel is compiled: tests of attributes
alone come first, and each side is written for itself.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import graphexec.math as gx
from graphexec.autodiff.scalar import rules
from graphexec.autodiff.scalar.dag import Apply, Call, Compare, Constant, Dag, Name, Select
from graphexec.autodiff.scalar.rules import assign, load
from graphexec.autodiff.scalar.variables import MATH

Region = tuple[tuple[int, bool], ...]
"""The selections around a node, from the outermost, and the side of each."""
_DEEPEST = 12
"""How deep an expression is nested before it gets a variable."""


def emit(dag: Dag, root: int, attributes: Collection[str]) -> tuple[list[ast.stmt], dict[str, Any]]:
    """Returns the statements that return a node, and the functions that they call by name."""
    names = {kind.name for kind in dag.kinds if isinstance(kind, Name)}
    scope: dict[str, Any] = {MATH: gx}
    return _by_attributes(dag, root, frozenset(attributes), names, scope), scope


def _by_attributes(dag: Dag, root: int, attributes: frozenset[str], names: set[str], scope: dict[str, Any]) -> list[ast.stmt]:
    for n in dag.below([root]):
        test = dag.operands[n][0] if isinstance(dag.kinds[n], Select) else n
        if test != n and dag.leaves[test] <= attributes:
            yes, no = (_by_attributes(dag, dag.limited_to(root, test, k), attributes, names, scope) for k in (True, False))
            (condition,) = _Emitter(dag, test, names, scope).run()
            assert isinstance(condition, ast.Return)
            assert condition.value is not None
            return [ast.If(condition.value, yes, []), *no]
    return _Emitter(dag, root, names, scope).run()


class _Emitter:
    """Writes one node."""

    def __init__(self, dag: Dag, root: int, names: set[str], scope: dict[str, Any]) -> None:
        self.dag, self.root, self.names, self.scope = dag, root, names, scope
        self.order = dag.below([root])
        self.uses = Counter(m for n in self.order for m in dag.operands[n])
        self.regions = self._find_regions()
        self.blocks: dict[Region, list[ast.stmt]] = {(): []}
        self.written: dict[int, tuple[ast.expr, int]] = {}
        """Expressions and their depths."""
        self.made = 0

    def run(self) -> list[ast.stmt]:
        """Returns the statements; the last returns the node."""
        value, _ = self._write_all(self.root, ())
        return [*self.blocks[()], ast.Return(value)]

    def _find_regions(self) -> dict[int, Region]:
        """Where each node is computed: the innermost region around all that read it."""
        regions: dict[int, Region] = {self.root: ()}
        for n in reversed(self.order):
            choice = isinstance(self.dag.kinds[n], Select)
            for slot, m in enumerate(self.dag.operands[n]):
                inner = (*regions[n], (n, slot == 1)) if choice and slot > 0 else regions[n]
                regions[m] = _common(regions[m], inner) if m in regions else inner
        return regions

    def _write_all(self, root: int, region: Region) -> tuple[ast.expr, int]:
        """Writes the nodes of a region, operands first, so that the stack stays low however deep the graph is."""
        waiting = [root]
        while waiting:
            n = waiting[-1]
            inner = self.dag.operands[n][:1] if isinstance(self.dag.kinds[n], Select) else self.dag.operands[n]
            missing = [m for m in inner if m not in self.written]
            if n in self.written or not missing:
                waiting.pop()
                if n not in self.written:
                    self.written[n] = self._named(n, *self._select(n) if inner != self.dag.operands[n] else self._plain(n))
            waiting.extend(missing if n not in self.written else ())
        return self.written[root]

    def _named(self, n: int, value: ast.expr, depth: int) -> tuple[ast.expr, int]:
        """The expression, or a variable that holds it."""
        if isinstance(value, (ast.Name, ast.Constant)) or (self.uses[n] < 2 and depth < _DEEPEST):
            return value, depth
        return self._variable(value, self.regions[n]), 0

    def _variable(self, value: ast.expr, region: Region) -> ast.expr:
        name = self._new()
        self.blocks[region].append(assign([name], [value]))
        return load(name)

    def _new(self) -> str:
        self.made += 1
        while f"s{self.made}" in self.names:
            self.made += 1
        return f"s{self.made}"

    def _select(self, n: int) -> tuple[ast.expr, int]:
        """A conditional expression, or a branch where a side needs variables."""
        test, *sides = self.dag.operands[n]
        region, found = self.regions[n], []
        for side, m in zip((True, False), sides, strict=True):
            inner = (*region, (n, side))
            self.blocks[inner] = []
            found.append((self._write_all(m, inner), self.blocks[inner]))
        (a, deep_a), before_a = found[0]
        (b, deep_b), before_b = found[1]
        condition, deep = self.written[test]
        if not before_a and not before_b:
            return ast.IfExp(condition, a, b), max(deep, deep_a, deep_b) + 1
        name = self._new()
        self.blocks[region].append(ast.If(condition, [*before_a, assign([name], [a])], [*before_b, assign([name], [b])]))
        return load(name), 0

    def _plain(self, n: int) -> tuple[ast.expr, int]:
        operands = [self.written[m][0] for m in self.dag.operands[n]]
        depth = max((self.written[m][1] for m in self.dag.operands[n]), default=0) + 1
        match self.dag.kinds[n]:
            case Name(name=name):
                return load(name), 0
            case Constant(value=value):
                return _literal(value), 0
            case Compare(tests=tests):
                return ast.Compare(operands[0], [t() for t in tests], operands[1:]), depth
            case Call(function=function):
                return ast.Call(self._function(function), operands, []), depth
            case Apply(operator=operator):
                return _applied(operator(), operands), depth
        raise AssertionError("a selection is written apart")

    def _function(self, function: Callable[..., Any]) -> ast.expr:
        name = function.__name__
        if getattr(gx, name, None) is function:
            return ast.Attribute(load(MATH), name, ast.Load())
        while name in self.names or self.scope.get(name, getattr(builtins, name, function)) is not function:
            name += "_"
        self.scope[name] = function
        return load(name)


def _literal(value: object) -> ast.expr:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return rules.number(value) if number else ast.Constant(value)  # type: ignore[arg-type]


def _applied(operator: ast.AST, operands: list[ast.expr]) -> ast.expr:
    if isinstance(operator, ast.boolop):
        return ast.BoolOp(operator, operands)
    if isinstance(operator, ast.unaryop):
        return ast.UnaryOp(operator, operands[0])
    assert isinstance(operator, ast.operator)
    return ast.BinOp(operands[0], operator, operands[1])


def _common(a: Region, b: Region) -> Region:
    k = 0
    while k < min(len(a), len(b)) and a[k] == b[k]:
        k += 1
    return a[:k]
