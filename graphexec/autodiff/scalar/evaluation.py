"""Evaluation: runs a scalar function on nodes in place of numbers, which gives the node of its result.

Branches become selections, loops over a range of known length are written out, and a helper that the function calls is run in
its turn. A rule of `rules` is run in the same way.
"""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphexec.autodiff.scalar import rules
from graphexec.autodiff.scalar.dag import Call, Compare, Dag, Unreadable

Variables = dict[str, int]
Nodes = tuple[int, ...]
Source = Callable[[Any], tuple[ast.FunctionDef, dict[str, Any]]]
_LONGEST = 64
_DEEPEST = 16


class Evaluation:
    """Runs functions that find their globals in one scope."""

    def __init__(self, dag: Dag, scope: Mapping[str, Any], source: Source, depth: int = 0) -> None:
        self.dag, self.scope, self.source, self.depth = dag, scope, source, depth

    def run(self, body: Sequence[ast.stmt], variables: Variables) -> Nodes:
        """Returns the results. *Raises* Unreadable for a construct that has no place in a dag."""
        found = self._block(body, dict(variables))
        if found is None:
            raise Unreadable("a function that returns nothing")
        return found

    # -- statements

    def _block(self, body: Sequence[ast.stmt], known: Variables) -> Nodes | None:
        """Runs statements; returns the results if they return, else None."""
        for k, node in enumerate(body):
            match node:
                case ast.Return(value=ast.expr() as value):
                    return self._values(value, known)
                case ast.If() if _holds(node, ast.Return):
                    return self._returning(node, body[k + 1 :], known)
                case ast.If():
                    self._if(node, known)
                case ast.For():
                    self._for(node, known)
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._assign(target, value, known)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._assign(target, value, known)
                case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                    known[name] = self.dag.apply(type(op), self._variable(name, known), self._expression(value, known))
                case ast.Pass() | ast.AnnAssign(value=None) | ast.Expr(value=ast.Constant()):
                    pass
                case _:
                    raise Unreadable(ast.unparse(node))
        return None

    def _assign(self, target: ast.expr, value: ast.expr, known: Variables) -> None:
        names = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
        found = self._values(value, known)
        if len(found) != len(names):
            raise Unreadable(ast.unparse(value))
        for name, n in zip(names, found, strict=True):
            if not isinstance(name, ast.Name):
                raise Unreadable(ast.unparse(target))
            known[name.id] = n

    def _returning(self, node: ast.If, rest: Sequence[ast.stmt], known: Variables) -> Nodes | None:
        test = self._expression(node.test, known)
        sides = [self._block([*side, *rest], dict(known)) for side in (node.body, node.orelse)]
        if sides[0] is None or sides[1] is None or len(sides[0]) != len(sides[1]):
            raise Unreadable(ast.unparse(node.test))
        return tuple(self.dag.select(test, a, b) for a, b in zip(*sides, strict=True))

    def _if(self, node: ast.If, known: Variables) -> None:
        test = self._expression(node.test, known)
        left, right = dict(known), dict(known)
        self._block(node.body, left)
        self._block(node.orelse, right)
        known.clear()  # a variable of one side alone cannot be read afterwards
        known.update({n: self.dag.select(test, left[n], right[n]) for n in left if n in right})

    def _for(self, node: ast.For, known: Variables) -> None:
        if not isinstance(node.target, ast.Name) or node.orelse or _holds(node, ast.Return, ast.Break, ast.Continue):
            raise Unreadable("a loop")
        if not isinstance(node.iter, ast.Call) or self._resolve(node.iter.func, known) is not range:
            raise Unreadable("a loop")
        bounds = [self.dag.value(self._expression(a, known)) for a in node.iter.args]
        if not all(type(b) is int for b in bounds) or 0 in bounds[2:] or len(range(*bounds)) > _LONGEST:
            raise Unreadable("a loop of unknown length")
        for k in range(*bounds):
            known[node.target.id] = self.dag.constant(k)
            self._block(node.body, known)

    # -- expressions

    def _values(self, node: ast.expr, known: Variables) -> Nodes:
        match node:
            case ast.Tuple(elts=parts):
                return tuple(self._expression(p, known) for p in parts)
            case ast.IfExp(test=test, body=ast.Tuple(elts=a), orelse=ast.Tuple(elts=b)) if len(a) == len(b):
                return tuple(self._expression(ast.IfExp(test, p, q), known) for p, q in zip(a, b, strict=True))
            case ast.Call():
                return self._call(node, known)
        return (self._expression(node, known),)

    def _expression(self, node: ast.expr, known: Variables) -> int:
        dag = self.dag
        match node:
            case ast.Constant(value=value):
                return dag.constant(value)
            case ast.Name(id=name):
                return self._variable(name, known)
            case ast.Attribute():
                return dag.constant(self._resolve(node, known))
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(type(op), self._expression(left, known), self._expression(right, known))
            case ast.UnaryOp(op=op, operand=operand):
                return self.unary(type(op), self._expression(operand, known))
            case ast.BoolOp(op=op, values=values):
                return dag.apply(type(op), *(self._expression(v, known) for v in values))
            case ast.Compare(left=left, ops=ops, comparators=others):
                tests = tuple(type(op) for op in ops)
                return dag.node(Compare(tests), *(self._expression(v, known) for v in (left, *others)))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return dag.select(*(self._expression(v, known) for v in (test, body, orelse)))
            case ast.Call():
                found = self._call(node, known)
                if len(found) == 1:
                    return found[0]
        raise Unreadable(ast.unparse(node))

    def binary(self, operator: type[ast.operator], a: int, b: int) -> int:
        """An operator of two values, as the author wrote it."""
        return self.dag.apply(operator, a, b)

    def unary(self, operator: type[ast.unaryop], a: int) -> int:
        """An operator of one value, as the author wrote it."""
        return self.dag.apply(operator, a)

    def _variable(self, name: str, known: Variables) -> int:
        return known[name] if name in known else self.dag.constant(self._resolve(ast.Name(name), known))

    def _resolve(self, node: ast.expr, known: Variables) -> Any:
        """The object that a global name, or an attribute of one, refers to."""
        match node:
            case ast.Attribute(value=value, attr=attribute):
                found = getattr(self._resolve(value, known), attribute, None)
            case ast.Name(id=name) if name not in known:
                found = self.scope.get(name, getattr(builtins, name, None))
            case _:
                found = None
        if found is None:
            raise Unreadable(ast.unparse(node))
        return found

    # -- calls

    def _call(self, node: ast.Call, known: Variables) -> Nodes:
        function = self._resolve(node.func, known)
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            raise Unreadable(ast.unparse(node))
        given = [self._expression(a, known) for a in node.args]
        named = {k.arg: self._expression(k.value, known) for k in node.keywords if k.arg is not None}
        rule, plain = rules.rule_of(function), getattr(function, "py_func", function)
        if rule is None and inspect.isfunction(plain):
            return self._run_helper(plain, given, named)
        if named or function is range:
            raise Unreadable(ast.unparse(node))
        return (self.dag.select(*given) if rule == "where" and len(given) == 3 else self.dag.node(Call(function), *given),)

    def _run_helper(self, plain: Any, given: list[int], named: Variables) -> Nodes:
        if self.depth > _DEEPEST:
            raise Unreadable(f"{plain.__name__} calls itself")
        signature = inspect.signature(plain)
        try:
            bound = signature.bind(*given, **named).arguments
        except TypeError as error:
            raise Unreadable(str(error)) from None
        kinds = {p.kind for p in signature.parameters.values()}
        if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            raise Unreadable(f"any number of arguments of {plain.__name__}")
        left = {name: self.dag.constant(p.default) for name, p in signature.parameters.items() if name not in bound}
        tree, scope = self.source(plain)
        return Evaluation(self.dag, scope, self.source, self.depth + 1).run(tree.body, {**bound, **left})


def _holds(node: ast.AST, *kinds: type[ast.AST]) -> bool:
    return any(isinstance(n, kinds) for n in ast.walk(node))
