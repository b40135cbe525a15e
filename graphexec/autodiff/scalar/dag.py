"""Dag: the expressions of a scalar function, each of them once.

A node is an operator with the numbers of its operands. Equal nodes are one node (hash consing), and the number of a node is
larger than those of its operands. Derivatives of all orders are nodes of one graph, so that an order adds to those before it
what is new and repeats nothing. Source: Griewank and Walther, "Evaluating Derivatives", 2008, section 6.3;
Ershov, "On programming of arithmetic operations", 1958.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Operator = type[ast.operator] | type[ast.unaryop] | type[ast.boolop]
Test = tuple[type[ast.cmpop], ...]


class Unreadable(Exception):
    """A construct that has no place in a dag, such as a loop of unknown length."""


class Name(NamedTuple):
    """An operand or an attribute."""

    name: str


class Constant(NamedTuple):
    """A literal, or a global number."""

    type: str
    text: str
    """Tells 0.0 from -0.0, which are equal."""
    value: Any


class Apply(NamedTuple):
    """An operator of Python."""

    operator: Operator


class Compare(NamedTuple):
    """A comparison of two or more values."""

    tests: Test


class Select(NamedTuple):
    """``b if a else c`` of its operands a, b, c."""


class Call(NamedTuple):
    """A pure function."""

    function: Callable[..., Any]


Kind = Name | Constant | Apply | Compare | Select | Call
_COMMUTATIVE = (ast.Add, ast.Mult)


class Dag:
    """The nodes. Methods return the number of a node, ``add`` to ``negative`` after simplification."""

    def __init__(self) -> None:
        self.kinds: list[Kind] = []
        self.operands: list[tuple[int, ...]] = []
        self.leaves: list[frozenset[str]] = []
        """The names that each node depends on."""
        self._known: dict[Any, int] = {}

    def node(self, kind: Kind, *operands: int) -> int:
        """The node of this kind with these operands."""
        same = isinstance(kind, Apply) and kind.operator in _COMMUTATIVE
        key = (type(kind), kind, tuple(sorted(operands)) if same else operands)
        if key not in self._known:
            self._known[key] = len(self.kinds)
            self.kinds.append(kind)
            self.operands.append(operands)
            own = frozenset([kind.name]) if isinstance(kind, Name) else frozenset()
            self.leaves.append(own.union(*(self.leaves[n] for n in operands)))
        return self._known[key]

    def name(self, name: str) -> int:
        """An operand or an attribute."""
        return self.node(Name(name))

    def constant(self, value: Any) -> int:
        """A number or a text."""
        if not isinstance(value, (bool, int, float, str, type(None))) or value != value:
            raise Unreadable(repr(value))
        return self.node(Constant(type(value).__name__, repr(value), value))

    def apply(self, operator: Operator, *operands: int) -> int:
        """An operator as it is written, except that integers are computed."""
        values = [self.value(n) for n in operands]
        if all(type(v) is int for v in values):
            if operator is ast.USub:
                return self.constant(-values[0])
            if operator in _INTEGERS:
                return self.constant(_INTEGERS[operator](*values))
        return self.node(Apply(operator), *operands)

    def select(self, test: int, a: int, b: int) -> int:
        """``a if test else b``."""
        known = self.kinds[test]
        if isinstance(known, Constant):
            return a if known.value else b
        return a if a == b else self.node(Select(), test, self.real(a), self.real(b))

    # -- what a node is

    def value(self, n: int) -> Any:
        """The value of a constant; None for anything else."""
        kind = self.kinds[n]
        return kind.value if isinstance(kind, Constant) else None

    def parts(self, n: int, operator: Operator) -> tuple[int, ...]:
        """The operands of a node with this operator; nothing for any other node."""
        kind = self.kinds[n]
        return self.operands[n] if isinstance(kind, Apply) and kind.operator is operator else ()

    def is_number(self, n: int, value: float) -> bool:
        """Whether it is the literal with this value."""
        found = self.value(n)
        return isinstance(found, float) and found == value

    def quotient(self, n: int) -> tuple[int, int, int] | None:
        """Reads ``a / v`` and ``a / v**k`` as (a, v, k); None for anything else."""
        found = self.parts(n, ast.Div)
        if not found:
            return None
        top, bottom = found
        power = self.parts(bottom, ast.Pow)
        k = self.value(power[1]) if power else None
        return (top, power[0], k) if type(k) is int and k > 0 else (top, bottom, 1)

    # -- algebra

    def real(self, n: int) -> int:
        """Turns an integer literal into a float."""
        value = self.value(n)
        return self.constant(float(value)) if type(value) is int else n

    def add(self, a: int | None, b: int | None) -> int | None:
        """a + b; None is 0."""
        if a is None or b is None or self.is_number(a, 0.0) or self.is_number(b, 0.0):
            return b if a is None or self.is_number(a, 0.0) else a
        negated = self.parts(b, ast.USub)
        if negated:
            return self.subtract(a, *negated)
        if a == b:
            return self.multiply(self.constant(2.0), a)
        negated = self.parts(a, ast.USub)
        return self.subtract(b, *negated) if negated else self.node(Apply(ast.Add), a, b)

    def subtract(self, a: int, b: int) -> int:
        """a - b; 0 only for equal numbers, because inf - inf is NaN."""
        if a == b and self.value(a) is not None:
            return self.constant(0.0)
        return self.node(Apply(ast.Sub), a, b)

    def multiply(self, a: int, b: int) -> int:
        """a * b; a choice of 0 comes first, so that this 0 is never multiplied by inf."""
        a, b = self.real(a), self.real(b)
        if self.is_number(a, 1.0) or self.is_number(b, 0.0):
            return b
        if self.is_number(b, 1.0) or self.is_number(a, 0.0):
            return a
        p, q = self.value(a), self.value(b)
        if q is not None:
            a, b, p, q = b, a, q, p
        if p is not None and q is not None:
            return self.constant(p * q)
        for one, other in ((a, b), (b, a)):
            if self.parts(one, ast.USub):
                return self.negative(self.multiply(self.parts(one, ast.USub)[0], other))
        for made in (self._by_zero(a, b), self._scaled(a, b, p), self._of_quotients(a, b)):
            if made is not None:
                return made
        return self.node(Apply(ast.Mult), a, b)

    def _by_zero(self, a: int, b: int) -> int | None:
        for one, other in ((a, b), (b, a)):
            if isinstance(self.kinds[one], Select):
                test, left, right = self.operands[one]
                if self.is_number(left, 0.0) or self.is_number(right, 0.0):
                    return self.select(test, self.multiply(left, other), self.multiply(right, other))
        return None

    def _scaled(self, a: int, b: int, p: float | None) -> int | None:
        """A number times a product or quotient that has a number."""
        product, quotient = self.parts(b, ast.Mult), self.parts(b, ast.Div)
        if p is not None and product and isinstance(self.value(product[0]), float):
            return self.multiply(self.multiply(a, product[0]), product[1])
        if quotient and isinstance(self.value(quotient[0]), float) and (p is not None or self.quotient(a) is None):
            return self.divide(self.multiply(a, quotient[0]), quotient[1])
        return None

    def _of_quotients(self, a: int, b: int) -> int | None:
        one, other = self.quotient(a), self.quotient(b)
        if one is None or other is None or one[1] != other[1]:
            return None
        return self.over_power(self.multiply(one[0], other[0]), one[1], one[2] + other[2])

    def divide(self, a: int, b: int) -> int:
        """a / b."""
        negated = self.parts(a, ast.USub)
        return self.negative(self.divide(negated[0], b)) if negated else self.node(Apply(ast.Div), self.real(a), b)

    def over_power(self, top: int, v: int, k: int) -> int:
        """top / v**k."""
        return self.divide(top, self.power(v, k))

    def power(self, v: int, k: int) -> int:
        """v**k for a whole number."""
        return v if k == 1 else self.node(Apply(ast.Pow), v, self.constant(k))

    def negative(self, a: int) -> int:
        """-a."""
        negated, value = self.parts(a, ast.USub), self.value(a)
        if negated:
            return negated[0]
        return self.constant(-value if value else 0.0) if isinstance(value, (int, float)) else self.node(Apply(ast.USub), a)

    def limited_to(self, n: int, test: int, known: bool) -> int:
        """The node where a test is known."""
        new = {test: self.constant(known)}
        for k in self.below([n]):
            if k not in new:
                operands = [new[m] for m in self.operands[k]]
                same = operands == list(self.operands[k])
                kind = self.kinds[k]
                new[k] = k if same else self.select(*operands) if isinstance(kind, Select) else self.node(kind, *operands)
        return new[n]

    def below(self, roots: Sequence[int]) -> list[int]:
        """The nodes that these depend on, and themselves; operands first."""
        found, stack = set(roots), list(roots)
        while stack:
            for m in self.operands[stack.pop()]:
                if m not in found:
                    found.add(m)
                    stack.append(m)
        return sorted(found)


_INTEGERS: dict[Operator, Callable[[int, int], Any]] = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
}  # fmt: skip
