"""Expressions and their tangents: the chain rule, one construct at a time.

An expression becomes a Dual. A subexpression that tangents use more than once is first assigned to a variable, so that
generated code computes nothing twice.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from graphexec.autodiff.scalar import rules
from graphexec.autodiff.scalar.rules import add, assign, load, multiply, negative, number
from graphexec.autodiff.scalar.variables import MATH, Dual, DualNames, Helper, Tangents


class DualExpressions(DualNames):
    """Writes expressions with their tangents."""

    def _values(self, node: ast.expr) -> list[Dual]:
        """The duals of a tuple, of a call that returns one, or of a single expression."""
        if isinstance(node, ast.Tuple):
            return [self._expression(e) for e in node.elts]
        if isinstance(node, ast.IfExp) and is_choice_of_tuples(node):
            assert isinstance(node.body, ast.Tuple)
            assert isinstance(node.orelse, ast.Tuple)
            sides = zip(node.body.elts, node.orelse.elts, strict=False)
            return [self._expression(ast.copy_location(ast.IfExp(node.test, a, b), node)) for a, b in sides]
        if isinstance(node, ast.Call) and self._rule(node) is None:
            return self._call_helper(node)
        return [self._expression(node)]

    def _expression(self, node: ast.expr) -> Dual:
        if not self._is_active(node):
            return Dual(node, {})
        match node:
            case ast.Name(id=name):
                return Dual(node, self._tangents(name))
            case ast.BinOp():
                return self._binary(node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self._expression(operand)
                return Dual(ast.UnaryOp(node.op, inner.value), {x: negative(t) for x, t in inner.tangents.items()})
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._expression(operand)
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return Dual(node, {})
            case ast.IfExp():
                return self._choice(node)
            case ast.Call():
                return self._call(node)
            case ast.BoolOp(values=values) if not any(self._expression(v).tangents for v in values):
                return Dual(node, {})
            case ast.BoolOp():
                self._refuse(f"`{ast.unparse(node)}`: and, or of numbers", node)
            case ast.Subscript():
                self._refuse(f"the subscript `{ast.unparse(node)}`", node)
        self._refuse(f"`{ast.unparse(node)}`", node)

    def _binary(self, node: ast.BinOp) -> Dual:
        if isinstance(node.op, ast.Div) and not self._is_active(node.left):
            return self._over(node.left, node.right)
        left, right = self._expression(node.left), self._expression(node.right)
        by_left, by_right = left.tangents, right.tangents
        match node.op:
            case ast.Add() | ast.Sub():
                name = "add" if isinstance(node.op, ast.Add) else "subtract"
            case ast.Mult():
                name = "multiply"
            case ast.Div():
                name = "divide"
            case ast.Pow():
                return self._power(left, right, lambda x, y: ast.BinOp(x, ast.Pow(), y))
            case ast.Mod():
                return self._modulo(left, right)
            case ast.FloorDiv():
                return Dual(ast.BinOp(left.value, node.op, right.value), {})
            case _ if by_left or by_right:
                self._refuse(f"the operator of `{ast.unparse(node)}`", node)
            case _:
                return Dual(node, {})
        return self._by_rule(name, [left, right], lambda values: ast.BinOp(values[0], node.op, values[1]))

    def _by_rule(self, name: str, arguments: Sequence[Dual], build: Callable[[Sequence[ast.expr]], ast.expr]) -> Dual:
        """Applies the rules of a known function to these arguments."""
        used = [rule for rule, a in zip(rules.RULES[name], arguments, strict=True) if a.tangents]
        letters = ("x", "y")[: len(arguments)]
        values = [self._atom(a.value) if any(rules.mentions(r, letter) for r in used) else a.value
                  for letter, a in zip(letters, arguments, strict=True)]  # fmt: skip
        out = build(values)
        if any(rules.mentions(r, "out") for r in used):
            out = self._atom(out)
        parts = {**dict(zip(letters, values, strict=True)), "out": out}

        def factor(rule: str) -> Callable[[ast.expr], ast.expr]:
            return lambda d: rules.write(rule, MATH, d=d, **parts)

        return Dual(out, self._sum((a, factor(rule)) for a, rule in zip(arguments, rules.RULES[name], strict=True)))

    def _over(self, top: ast.expr, bottom: ast.expr) -> Dual:
        """c / v**n, whose derivative is -n c / v**(n + 1): one term in every order, where the rule of quotients doubles them."""
        read = rules.quotient(ast.BinOp(top, ast.Div(), bottom))
        n = 1 if read is None else read[2]
        dual = self._expression(bottom if read is None else read[1])
        v = self._atom(dual.value)
        v = self.alias.get(v.id, v) if isinstance(v, ast.Name) else v
        slope = negative(rules.over_power(multiply(number(float(n)), top), v, n + 1))
        return Dual(rules.over_power(top, v, n), {x: multiply(slope, t) for x, t in dual.tangents.items()})

    def _sum(self, terms: Iterable[tuple[Dual, Callable[[ast.expr], ast.expr]]]) -> Tangents:
        """The chain rule: for every input, the sum of each argument's tangent times its factor."""
        terms = list(terms)
        total: Tangents = {}
        for x in self.wrt:
            found: ast.expr | None = None
            for argument, factor in terms:
                if x in argument.tangents:
                    found = add(found, factor(argument.tangents[x]))
            if found is not None and not rules.is_number(found, 0.0):
                total[x] = found
        return total

    def _modulo(self, left: Dual, right: Dual) -> Dual:
        """x % y = x - y * (x // y), where the quotient is constant."""
        x, y = self._atom(left.value), self._atom(right.value)
        quotient = self._atom(ast.BinOp(x, ast.FloorDiv(), y)) if right.tangents else x
        turned = (right, lambda d: negative(multiply(d, quotient)))
        return Dual(ast.BinOp(x, ast.Mod(), y), self._sum([(left, lambda d: d), turned]))

    def _power(self, left: Dual, right: Dual, build: Callable[[ast.expr, ast.expr], ast.expr]) -> Dual:
        exponent = self._constant(right.value)
        if exponent is not None:
            x = self._atom(left.value)
            factor = self._slope(x, exponent)
            return Dual(build(x, right.value), {} if factor is None else self._sum([(left, lambda d: multiply(d, factor))]))
        x, y = self._atom(left.value), self._atom(right.value)
        out = self._atom(build(x, y)) if right.tangents else build(x, y)
        slope = self._atom(rules.write(rules.SLOPE, MATH, x=x, y=y)) if left.tangents else x
        growth = self._atom(self._growth(x, y, out)) if right.tangents else y
        return Dual(out, self._sum([(left, lambda d: multiply(d, slope)), (right, lambda d: multiply(d, growth))]))

    def _slope(self, x: ast.expr, exponent: float) -> ast.expr | None:
        """The derivative n * x**(n - 1) for a number n; None where it is 0."""
        whole = exponent == int(exponent)
        if exponent in (0, 1):
            return number(1.0) if exponent else None
        if exponent == 2:
            return multiply(number(2.0), x)
        if not whole:
            power: ast.expr = rules.write("pow(x, y)", MATH, x=x, y=number(exponent - 1))
            return self._atom(multiply(number(exponent), power))
        power = ast.BinOp(x, ast.Pow(), ast.Constant(int(abs(exponent - 1))))
        scale = number(float(exponent))
        return self._atom(multiply(scale, power) if exponent > 0 else ast.BinOp(scale, ast.Div(), power))

    def _growth(self, x: ast.expr, y: ast.expr, out: ast.expr) -> ast.expr:
        base = self._constant(x)
        if base is not None and base > 0:
            return multiply(out, number(math.log(base)))
        return rules.write(rules.GROWTH, MATH, x=x, y=y, out=out)

    def _choice(self, node: ast.IfExp) -> Dual:
        """A conditional expression; an if statement where a side needs variables, so that only the chosen side is computed."""
        test = self._atom(node.test) if any(isinstance(n, ast.Call) for n in ast.walk(node.test)) else node.test
        outer, sides = self.block, []
        for side in (node.body, node.orelse):
            self.block = []
            sides.append((self._expression(side), self.block))
        self.block = outer
        (a, before_a), (b, before_b) = sides
        by = [x for x in self.wrt if x in a.tangents or x in b.tangents]
        left, right = ([d.value, *(d.tangents.get(x, number(0.0)) for x in by)] for d in (a, b))
        if not before_a and not before_b:
            chosen: list[ast.expr] = [ast.IfExp(test, p, q) for p, q in zip(left, right, strict=True)]
            chosen[1:] = [p if rules.is_number(p) and ast.dump(p) == ast.dump(q) else c
                          for p, q, c in zip(left[1:], right[1:], chosen[1:], strict=True)]  # fmt: skip
            return Dual(chosen[0], dict(zip(by, chosen[1:], strict=True)))
        names = [self._new() for _ in left]
        branches = [before + [assign([n], [rules.real(v)]) for n, v in zip(names, values, strict=True)]
                    for before, values in ((before_a, left), (before_b, right))]  # fmt: skip
        self.block.append(ast.If(test, *branches))
        return Dual(load(names[0]), {x: load(n) for x, n in zip(by, names[1:], strict=True)})

    # -- calls

    def _call(self, node: ast.Call) -> Dual:
        rule = self._rule(node)
        if rule == "flat":
            return Dual(node, {})
        if rule is None:
            duals = self._call_helper(node)
            if len(duals) != 1:
                self._refuse(f"the tuple that `{ast.unparse(node)}` returns, inside an expression", node)
            return duals[0]
        if node.keywords:
            self._refuse(f"keywords in `{ast.unparse(node)}`", node)
        arguments = [self._expression(a) for a in node.args]
        if rule in ("max", "min") and len(arguments) > 1:
            return self._extreme(node.func, arguments, ast.Gt() if rule == "max" else ast.Lt())
        counts = {"pow": 2, "where": 3}.get(rule, len(rules.RULES.get(rule, ())))
        if len(arguments) != counts:
            self._refuse(f"`{ast.unparse(node)}` with {len(arguments)} arguments", node)
        if rule == "pow":
            return self._power(arguments[0], arguments[1], lambda x, y: ast.Call(node.func, [x, y], []))
        if rule == "where":
            return self._choice(ast.copy_location(ast.IfExp(*node.args), node))
        return self._by_rule(rule, arguments, lambda values: ast.Call(node.func, list(values), []))

    def _extreme(self, function: ast.expr, arguments: Sequence[Dual], first: ast.cmpop) -> Dual:
        """max and min, two arguments at a time; equal arguments contribute half of their tangents each."""
        best = arguments[0]
        for other in arguments[1:]:
            p, q = self._atom(best.value), self._atom(other.value)
            tangents: Tangents = {}
            for x in self.wrt:
                a, b = (self._atom(d.tangents.get(x, number(0.0))) for d in (best, other))
                both = add(a, b)
                if x in best.tangents or x in other.tangents:
                    assert both is not None
                    tie = ast.IfExp(ast.Compare(p, [ast.Eq()], [q]), multiply(number(0.5), both), b)
                    tangents[x] = ast.IfExp(ast.Compare(p, [first], [q]), a, tie)
            best = Dual(ast.Call(function, [p, q], []), tangents)
        return best

    def _call_helper(self, node: ast.Call) -> list[Dual]:
        """Replaces a call of a Python or Numba function by a call of its dual, which also returns the derivatives."""
        function = self._resolve(node.func)
        plain = getattr(function, "py_func", function)
        module = (getattr(plain, "__module__", None) or "").partition(".")[0]
        if not inspect.isfunction(plain) or module in ("numpy", "scipy", "math", "numba"):
            if self._is_active(node):
                self._refuse(f"a call of `{ast.unparse(node.func)}`, whose derivative is not known,", node)
            return [Dual(node, {})]
        bound = self._bind(plain, node)
        active = tuple(name for name, dual in bound.items() if dual.tangents)
        helper = self.helper(function, active)
        values = iter([dual.value for dual in bound.values()])
        call = ast.Call(node.func, [next(values) for _ in node.args], [ast.keyword(k.arg, next(values)) for k in node.keywords])
        return self._take(helper, call, bound, plain.__name__)

    def _bind(self, function: Any, node: ast.Call) -> dict[str, Dual]:
        """Maps parameters to arguments, in the order of the call."""
        try:
            given = {k.arg: k.value for k in node.keywords if k.arg is not None}
            bound = inspect.signature(function).bind(*node.args, **given).arguments
        except TypeError as error:
            self._refuse(f"`{ast.unparse(node)}`: {error}", node)
        position_of = {id(a): position for position, a in enumerate((*node.args, *given.values()))}
        if len(position_of) != len(bound) or any(id(a) not in position_of for a in bound.values()):
            self._refuse(f"`{ast.unparse(node)}`: any number of arguments", node)
        return {name: self._expression(a) for name, a in sorted(bound.items(), key=lambda item: position_of[id(item[1])])}

    def _take(self, helper: Helper, call: ast.Call, bound: Mapping[str, Dual], name: str) -> list[Dual]:
        """Assigns the results of a helper to variables and applies the chain rule to its derivatives."""
        if helper.single and not any(helper.parts):
            return [Dual(call, {})]
        name = self._named(helper, f"{name}_dual")
        self.namespace[name] = helper.function
        call = ast.Call(load(name), call.args, call.keywords)
        values = [self._new() for _ in helper.parts]
        slopes = [{p: self._new() for p in part} for part in helper.parts]
        self.block.append(assign([*values, *(s for part in slopes for s in part.values())], [call]))
        return [
            Dual(load(value), self._sum((bound[p], partial(multiply, load(s))) for p, s in part.items()))
            for value, part in zip(values, slopes, strict=True)
        ]


def is_choice_of_tuples(node: ast.expr) -> bool:
    """Whether it is a conditional expression between two tuples."""
    return isinstance(node, ast.IfExp) and isinstance(node.body, ast.Tuple) and isinstance(node.orelse, ast.Tuple)
