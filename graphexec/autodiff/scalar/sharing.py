"""share: computes each subexpression of a generated function once.

Derivatives of higher order repeat the parts of those before; shared, a function grows polynomially with the order, where it
would grow exponentially as a tree. Value numbering: expressions with equal operators and operands get one number, and a number
that is met again is read from a variable. What one branch or one side of a conditional expression computes is not visible
outside of it. Scalar functions are pure, so calls are shared too. Source: Cooper and Torczon, "Engineering a Compiler", 2011,
section 8.4.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from graphexec.autodiff.scalar.dead_code import prune
from graphexec.autodiff.scalar.rules import assign, load

_COMMUTATIVE = (ast.Add, ast.Mult)


def share(body: Sequence[ast.stmt], taken: Iterable[str]) -> list[ast.stmt]:
    """Returns statements with the same results in which no visible subexpression is computed twice."""
    counting = _Sharer(frozenset(taken), Counter())
    counting.block(body)
    return prune(_Sharer(frozenset(taken), counting.met).block(body))


class _Sharer:
    """One walk over the statements. ``wanted`` counts, from an earlier walk, how often each number was met again."""

    def __init__(self, taken: frozenset[str], wanted: Counter[int]) -> None:
        self.taken, self.wanted = taken, wanted
        self.met: Counter[int] = Counter()
        self.numbers: dict[Any, int] = {}
        self.now: dict[str, int] = {}
        """The number of what each variable holds."""
        self.holders: dict[int, str] = {}
        """A variable that holds each number."""
        self.written: list[ast.stmt] = []
        self.may_write = True
        self.made = 0

    # -- statements

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        outer, self.written = self.written, []
        for statement in statements:
            self._statement(statement)
        written, self.written = self.written, outer
        return written

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                new, number = self.expression(value, named=True)
                self.written.append(assign([name], [new]))
                self._hold(name, number)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
                found = [self.expression(v, named=True) for v in values]
                self.written.append(ast.Assign(node.targets, ast.Tuple([new for new, _ in found], ast.Load()), lineno=0))
                for target, (_, number) in zip(names, found, strict=True):
                    assert isinstance(target, ast.Name)
                    self._hold(target.id, number)
            case ast.If(test=test, body=body, orelse=orelse):
                test, _ = self.expression(test)
                self.written.append(ast.If(test, self._apart(body) or [ast.Pass()], self._apart(orelse)))
                self._forget(node)
            case ast.While() | ast.For():
                self._loop(node)
            case ast.Return(value=ast.Tuple(elts=values)):
                self.written.append(ast.Return(ast.Tuple([self.expression(v)[0] for v in values], ast.Load())))
            case ast.Return(value=ast.expr() as value):
                self.written.append(ast.Return(self.expression(value)[0]))
            case _:
                self.written.append(node)
                self._forget(node)

    def _loop(self, node: ast.While | ast.For) -> None:
        self._forget(node)
        body, orelse = self._apart(node.body), self._apart(node.orelse)
        if isinstance(node, ast.While):
            self.written.append(ast.While(node.test, body, orelse))
        else:
            self.written.append(ast.For(node.target, node.iter, body, orelse, lineno=0))
        self._forget(node)

    def _apart(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """A block whose values are not visible after it."""
        now, holders = dict(self.now), dict(self.holders)
        written = self.block(statements)
        self.now, self.holders = now, holders
        return written

    def _forget(self, node: ast.stmt) -> None:
        for stored in (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)):
            self.now[stored] = self._new()

    def _hold(self, name: str, number: int) -> None:
        self.now[name] = number
        if self._holder(number) is None:
            self.holders[number] = name

    def _holder(self, number: int) -> str | None:
        name = self.holders.get(number)
        return name if name is not None and self.now.get(name) == number else None

    # -- expressions

    def expression(self, node: ast.expr, named: bool = False) -> tuple[ast.expr, int]:
        """Returns the expression, with shared parts read from variables, and its number; ``named`` if a variable will hold it."""
        if isinstance(node, ast.Name):
            number = self.now.setdefault(node.id, self._number(("name", node.id)))
            holder = self._holder(number)
            return (node if holder is None else load(holder)), number
        new, key = self._parts(node)
        if key is None:
            return new, self._new()
        number = self._number(key)
        holder = self._holder(number)
        if holder is not None:
            self.met[number] += 1
            return load(holder), number
        if self.may_write and not named and not self._is_atom(node):
            name = self._name()
            if self.wanted[number]:
                self.written.append(assign([name], [new]))
                new = load(name)
            self._hold(name, number)
        return new, number

    def _parts(self, node: ast.expr) -> tuple[ast.expr, Any]:
        """Rewrites the operands of an expression; returns it with the key of its number, None for what is never shared."""
        match node:
            case ast.Constant(value=value):
                return node, ("constant", type(value).__name__, repr(value))
            case ast.Attribute():
                return node, ("attribute", ast.dump(node))
            case ast.BinOp(left=left, op=op, right=right):
                (a, m), (b, n) = self.expression(left), self.expression(right)
                low, high = (min(m, n), max(m, n)) if isinstance(op, _COMMUTATIVE) else (m, n)
                return ast.BinOp(a, op, b), (type(op).__name__, low, high)
            case ast.UnaryOp(op=op, operand=operand):
                a, m = self.expression(operand)
                return ast.UnaryOp(op, a), (type(op).__name__, m)
            case ast.Compare(left=left, ops=ops, comparators=others):
                found = [self.expression(v) for v in (left, *others)]
                key = ("compare", *(type(op).__name__ for op in ops), *(number for _, number in found))
                return ast.Compare(found[0][0], ops, [new for new, _ in found[1:]]), key
            case ast.Call(func=func, args=args, keywords=[]) if not any(isinstance(a, ast.Starred) for a in args):
                found = [self.expression(v) for v in args]
                return ast.Call(func, [new for new, _ in found], []), ("call", ast.dump(func), *(number for _, number in found))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                condition, c = self.expression(test)
                (a, m), (b, n) = self._side(body), self._side(orelse)
                return ast.IfExp(condition, a, b), ("choice", c, m, n)
        return node, None

    def _side(self, node: ast.expr) -> tuple[ast.expr, int]:
        """A part that is not always computed: it can read what is shared, but writes nothing."""
        outer, self.may_write = self.may_write, False
        found = self.expression(node)
        self.may_write = outer
        return found

    @staticmethod
    def _is_atom(node: ast.expr) -> bool:
        inner = node.operand if isinstance(node, ast.UnaryOp) else node
        if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Pow) and isinstance(inner.right, ast.Constant):
            return isinstance(inner.left, ast.Name)  # left in place, where the next derivation recognizes it
        return isinstance(inner, (ast.Constant, ast.Attribute, ast.Name))

    def _number(self, key: Any) -> int:
        return self.numbers.setdefault(key, len(self.numbers))

    def _new(self) -> int:
        return self._number(("new", len(self.numbers)))

    def _name(self) -> str:
        self.made += 1
        while f"s{self.made}" in self.taken:
            self.made += 1
        return f"s{self.made}"
