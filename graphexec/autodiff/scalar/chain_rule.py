"""Tangents: the derivatives of the nodes of a dag by one of its names.

The derivative of a node is found once, and derivatives are nodes again: differentiated n times, a node is the sum of products
of at most n + 1 derivatives of each operand, which all nodes share. So code grows polynomially with the order.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable

import graphexec.math as gx
from graphexec.autodiff.scalar import rules
from graphexec.autodiff.scalar.dag import Apply, Call, Compare, Dag, Name, Select, Unreadable
from graphexec.autodiff.scalar.evaluation import Evaluation, Source, Variables


class _Rule(Evaluation):
    """Runs the text of a rule, simplified as it goes."""

    def binary(self, operator: type[ast.operator], a: int, b: int) -> int:
        dag = self.dag
        if operator is ast.Mult:
            return dag.multiply(a, b)
        return dag.divide(a, b) if operator is ast.Div else dag.apply(operator, a, b)

    def unary(self, operator: type[ast.unaryop], a: int) -> int:
        return self.dag.negative(a) if operator is ast.USub else self.dag.apply(operator, a)


class Tangents:
    """Derivatives by ``x``; None is a derivative that is 0 everywhere."""

    def __init__(self, dag: Dag, x: str, source: Source) -> None:
        self.dag, self.x = dag, x
        self.found: dict[int, int | None] = {}
        self.rule = _Rule(dag, vars(gx), source)

    def of(self, n: int) -> int | None:
        """The derivative of a node. *Raises* Unreadable where none is known."""
        for k in self.dag.below([n]) if n not in self.found else ():  # operands first: no recursion, however deep the graph is
            if k not in self.found:
                self.found[k] = self._node(k) if self.x in self.dag.leaves[k] else None
        return self.found[n]

    def _node(self, n: int) -> int | None:
        kind, operands = self.dag.kinds[n], self.dag.operands[n]
        match kind:
            case Name():
                return self.dag.constant(1.0)
            case Compare():
                return None
            case Select():
                return self._select(*operands)
            case Call(function=function):
                return self._call(n, rules.rule_of(function), operands)
            case Apply(operator=operator) if operator in _OPERATORS:
                return _OPERATORS[operator](self, n, *operands)
            case Apply() if all(self.found[m] is None for m in operands):
                return None
        raise Unreadable("an operator without a derivative")

    def _select(self, test: int, a: int, b: int) -> int | None:
        left, right = self.found[a], self.found[b]
        if left is None and right is None:
            return None
        zero = self.dag.constant(0.0)
        return self._unless_zero(self.dag.select(test, zero if left is None else left, zero if right is None else right))

    def _unless_zero(self, n: int | None) -> int | None:
        return None if n is None or self.dag.is_number(n, 0.0) else n

    # -- operators

    def _sum(self, terms: Iterable[tuple[int, Callable[[int], int]]]) -> int | None:
        """The chain rule: the sum over operands of what is made of their derivatives."""
        total: int | None = None
        for operand, factor in terms:
            tangent = self.found[operand]
            if tangent is not None:
                total = self.dag.add(total, factor(tangent))
        return self._unless_zero(total)

    def _add(self, _: int, a: int, b: int) -> int | None:
        return self._sum([(a, lambda d: d), (b, lambda d: d)])

    def _subtract(self, _: int, a: int, b: int) -> int | None:
        return self._sum([(a, lambda d: d), (b, self.dag.negative)])

    def _negative(self, _: int, a: int) -> int | None:
        return self._sum([(a, self.dag.negative)])

    def _positive(self, _: int, a: int) -> int | None:
        return self.found[a]

    def _none(self, *_: int) -> None:
        return None

    def _multiply(self, _: int, a: int, b: int) -> int | None:
        return self._sum([(a, lambda d: self.dag.multiply(d, b)), (b, lambda d: self.dag.multiply(d, a))])

    def _divide(self, n: int, a: int, b: int) -> int | None:
        """(a' - b' out) / b, one quotient where a'/b - b' out/b would double them; c / v**k has -k c / v**(k + 1)."""
        if self.found[a] is not None:
            top = self._sum([(a, lambda d: d), (b, lambda d: self.dag.negative(self.dag.multiply(d, n)))])
            return None if top is None else self.dag.divide(top, b)
        _, v, k = self.dag.quotient(n) or (a, b, 1)
        tangent = self.found[v]
        if tangent is None:
            return None
        slope = self.dag.over_power(self.dag.multiply(self.dag.constant(float(k)), a), v, k + 1)
        return self.dag.negative(self.dag.multiply(slope, tangent))

    def _modulo(self, _: int, a: int, b: int) -> int | None:
        """x % y = x - y * (x // y), where the quotient is constant."""
        whole = self.dag.node(Apply(ast.FloorDiv), a, b)
        return self._sum([(a, lambda d: d), (b, lambda d: self.dag.negative(self.dag.multiply(d, whole)))])

    def _power(self, n: int, x: int, y: int) -> int | None:
        dag, exponent = self.dag, self.dag.value(y)
        if isinstance(exponent, (int, float)):
            tangent = self.found[x]
            slope = self._slope(x, exponent)
            return None if slope is None or tangent is None else dag.multiply(tangent, slope)
        parts = {"x": x, "y": y, "out": n}
        base = dag.value(x)
        growth: Callable[[int], int] = lambda d: dag.multiply(d, self._rule(rules.GROWTH, parts))  # noqa: E731
        if isinstance(base, (int, float)) and base > 0:
            growth = lambda d: dag.multiply(d, dag.multiply(n, dag.constant(math.log(base))))  # noqa: E731
        return self._sum([(x, lambda d: dag.multiply(d, self._rule(rules.SLOPE, parts))), (y, growth)])

    def _slope(self, x: int, exponent: float) -> int | None:
        """The derivative n * x**(n - 1) for a number n; None where it is 0."""
        dag, scale = self.dag, self.dag.constant(float(exponent))
        if exponent in (0, 1):
            return dag.constant(1.0) if exponent else None
        if exponent != int(exponent):
            return dag.multiply(scale, dag.node(Call(gx.pow), x, dag.constant(float(exponent - 1))))
        k = int(exponent) - 1
        return dag.multiply(scale, dag.power(x, k)) if k > 0 else dag.over_power(scale, x, -k)

    # -- functions

    def _call(self, n: int, rule: str | None, operands: tuple[int, ...]) -> int | None:
        if rule == "flat":
            return None
        if rule in ("max", "min") and len(operands) > 1:
            return self._extreme(ast.Gt if rule == "max" else ast.Lt, n, operands)
        if rule == "pow" and len(operands) == 2:
            return self._power(n, *operands)
        if rule is None or len(operands) != len(rules.RULES.get(rule, ())):
            raise Unreadable("a function without a derivative")
        return self._by_rule(rule, n, operands)

    def _by_rule(self, name: str, n: int, operands: tuple[int, ...]) -> int | None:
        parts = {**dict(zip(("x", "y"), operands, strict=False)), "out": n}

        def factor(text: str) -> Callable[[int], int]:
            return lambda d: self._rule(text, {**parts, "d": d})

        return self._sum([(m, factor(text)) for m, text in zip(operands, rules.RULES[name], strict=True)])

    def _rule(self, text: str, parts: Variables) -> int:
        return self.rule.run([ast.Return(rules.parsed(text))], parts)[0]

    def _extreme(self, first: type[ast.cmpop], n: int, operands: tuple[int, ...]) -> int | None:
        """max and min, two arguments at a time; equal arguments contribute half of their tangents each."""
        dag, zero = self.dag, self.dag.constant(0.0)
        function = dag.kinds[n]
        best, slope = operands[0], self.found[operands[0]]
        for other in operands[1:]:
            by = self.found[other]
            if slope is not None or by is not None:
                both = dag.add(slope, by)
                half = dag.multiply(dag.constant(0.5), zero if both is None else both)
                tie = dag.select(dag.node(Compare((ast.Eq,)), best, other), half, zero if by is None else by)
                slope = dag.select(dag.node(Compare((first,)), best, other), zero if slope is None else slope, tie)
            best = dag.node(function, best, other)
        return self._unless_zero(slope)


_OPERATORS: dict[object, Callable[..., int | None]] = {
    ast.Add: Tangents._add, ast.Sub: Tangents._subtract, ast.Mult: Tangents._multiply, ast.Div: Tangents._divide,
    ast.Pow: Tangents._power, ast.Mod: Tangents._modulo, ast.FloorDiv: Tangents._none, ast.USub: Tangents._negative,
    ast.UAdd: Tangents._positive, ast.Not: Tangents._none,
}  # fmt: skip
