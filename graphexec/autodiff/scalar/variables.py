"""The variables of a differentiated function: their names, their tangents, and the objects that global names refer to."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from graphexec.autodiff.scalar import rules
from graphexec.autodiff.scalar.rules import assign, load, number

MATH = "_math"
"""The name of `graphexec.math` in generated code."""

Tangents = dict[str, ast.expr]


class Dual(NamedTuple):
    """An expression and its derivatives by the inputs, without those that are 0."""

    value: ast.expr
    tangents: Tangents


class Helper(NamedTuple):
    """A dual function: it returns the results of another function, then their derivatives."""

    function: Any
    parts: tuple[tuple[str, ...], ...]
    """For each result, the parameters that it depends on."""
    single: bool


class NotDifferentiable(Exception):
    """A construct without a derivative, and its line."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.what, self.line = what, line


class DualNames:
    """A function's variables, with their derivatives by the parameters ``wrt``."""

    def __init__(
        self, function: ast.FunctionDef, namespace: dict[str, Any], wrt: Sequence[str],
        give: Callable[[Sequence[Dual], Sequence[Sequence[str]]], ast.expr], helper: Callable[[Any, tuple[str, ...]], Helper],
    ) -> None:  # fmt: skip
        self.function, self.namespace, self.wrt, self.give, self.helper = function, namespace, tuple(wrt), give, helper
        names = [n for n in ast.walk(function) if isinstance(n, ast.Name)]
        stored = [n.id for n in names if isinstance(n.ctx, ast.Store)]
        self.stores = {name: stored.count(name) for name in stored}
        arguments = function.args
        self.parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        self.once = {name for name in stored if self.stores[name] == 1 and name not in self.parameters}
        self.taken = {n.id for n in names} | set(namespace) | set(self.parameters) | set(dir(builtins))
        self.active: dict[str, set[str]] = {name: {name} for name in self.wrt}
        self.names: dict[Any, str] = {}
        self.results: list[set[str]] = []
        self.single = True
        self.line = function.lineno
        self.block: list[ast.stmt] = []
        self.known: dict[tuple[str, str], ast.expr] = {}
        self.count = 0
        self.temporary: set[str] = set()
        self.alias: dict[str, ast.expr] = {}
        """A variable assigned once, and the temporary variable that it is."""
        self.has_loops = any(isinstance(n, (ast.For, ast.While)) for n in ast.walk(function))

    def _refuse(self, what: str, node: ast.AST) -> NoReturn:
        raise NotDifferentiable(what, getattr(node, "lineno", self.line))

    # -- names

    def _fresh(self, wanted: str) -> str:
        while wanted in self.taken:
            wanted += "_"
        self.taken.add(wanted)
        return wanted

    def _named(self, key: Any, wanted: str) -> str:
        if key not in self.names:
            self.names[key] = self._fresh(wanted)
        return self.names[key]

    def _tangent(self, name: str, x: str) -> str:
        return self._named((name, x), f"{name}_by_{x}")

    def _new(self) -> str:
        self.count += 1
        name = self._named(self.count, f"t{self.count}")
        self.temporary.add(name)
        return name

    def _tangents(self, name: str) -> Tangents:
        found: Tangents = {}
        for x in self.wrt:
            if x in self.active.get(name, ()):
                one = name == x and name not in self.stores
                found[x] = number(1.0) if one else self.known.get((name, x)) or load(self._tangent(name, x))
        return found

    def _is_active(self, node: ast.AST) -> bool:
        return any(isinstance(n, ast.Name) and self.active.get(n.id) for n in ast.walk(node))

    def _atom(self, node: ast.expr) -> ast.expr:
        """The expression itself if repeating it costs nothing, else a variable that holds it."""
        inner = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node
        while isinstance(inner, ast.Attribute):
            inner = inner.value
        if isinstance(inner, (ast.Name, ast.Constant)):
            return node
        name = self._new()
        self.block.append(assign([name], [node]))
        return load(name)

    # -- what names refer to

    def _resolve(self, node: ast.expr) -> Any:
        """The object that a global name, or an attribute of one, refers to; None if there is none."""
        if isinstance(node, ast.Attribute):
            return getattr(self._resolve(node.value), node.attr, None)
        if isinstance(node, ast.Name) and node.id not in self.stores and node.id not in self.parameters:
            return self.namespace.get(node.id, getattr(builtins, node.id, None))
        return None

    def _rule(self, node: ast.Call) -> str | None:
        return rules.rule_of(self._resolve(node.func))

    def _constant(self, node: ast.expr) -> float | None:
        """The value of a literal or of a global number; None for anything else."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self._constant(node.operand)
            return None if inner is None else -inner
        value = node.value if isinstance(node, ast.Constant) else self._resolve(node)
        finite = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**31
        return value if finite else None  # type: ignore[return-value]
