"""Forward-mode differentiation of a scalar function as a rewriting of its source: each variable gets its tangents.

For a variable v and an input x, ``v_by_x`` is the derivative of v by x. Every assignment of v assigns its tangents too,
so branches, loops and early returns stay as they are. Which tangents can differ from 0 is found by writing the
function again until none is new; the others are not written. Source: Griewank and Walther, "Evaluating Derivatives",
2008, sections 3.1 and 6.
"""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from graphexec import derive_rules as rules
from graphexec.derive_rules import add, assign, load, multiply, negative, number

MATH = "_math"
"""What generated code calls `graphexec.math`."""

_FORBIDDEN: dict[type[ast.AST], str] = {
    ast.Try: "try", ast.With: "with", ast.Lambda: "lambda", ast.ListComp: "a comprehension", ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension", ast.GeneratorExp: "a comprehension", ast.NamedExpr: "an assignment inside an expression",
    ast.Yield: "yield", ast.YieldFrom: "yield", ast.Await: "await", ast.FunctionDef: "a function inside the function",
    ast.ClassDef: "a class inside the function", ast.Raise: "raise", ast.Assert: "assert", ast.Match: "match",
    ast.Global: "global", ast.Nonlocal: "nonlocal", ast.Import: "import", ast.ImportFrom: "import", ast.Delete: "del",
    ast.Starred: "a starred expression",
}  # fmt: skip

Tangents = dict[str, ast.expr]


class Dual(NamedTuple):
    """An expression and its derivatives by the inputs; those that are 0 are left out."""

    value: ast.expr
    tangents: Tangents


class Helper(NamedTuple):
    """A function that returns what another returns, and after that the derivatives."""

    function: Any
    parts: tuple[tuple[str, ...], ...]
    """For each result the parameters that it depends on."""
    single: bool


class Refused(Exception):
    """A construct without a derivative, and its line."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.what, self.line = what, line


class DualWriter:
    """Writes one function with the tangents of its variables by the parameters ``wrt``."""

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
        self.taken = {n.id for n in names} | set(namespace) | set(self.parameters) | set(dir(builtins))
        self.active: dict[str, set[str]] = {name: {name} for name in self.wrt}
        self.names: dict[Any, str] = {}
        self.results: list[set[str]] = []
        self.single = True
        self.line = function.lineno

    def run(self) -> list[ast.stmt]:
        """The statements of the new function. *Raises* Refused."""
        self._check()
        self.changed = True
        while self.changed:
            self.changed = False
            self.count, self.known = 0, dict[tuple[str, str], ast.expr]()
            reassigned = [x for x in self.wrt if x in self.stores]
            first = [assign([self._tangent(x, x)], [number(1.0)]) for x in reassigned]
            body = first + self._block(self.function.body)
        if not self.results:
            raise Refused("a function that returns nothing", self.function.lineno)
        return body

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(x for x in self.wrt if x in found) for found in self.results)

    def _check(self) -> None:
        for statement in self.function.body:
            for node in ast.walk(statement):
                if type(node) in _FORBIDDEN:
                    raise Refused(_FORBIDDEN[type(node)], getattr(node, "lineno", self.line))

    def _refuse(self, what: str, node: ast.AST) -> NoReturn:
        raise Refused(what, getattr(node, "lineno", self.line))

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
        return self._named(self.count, f"t{self.count}")

    def _tangents(self, name: str) -> Tangents:
        found: Tangents = {}
        for x in self.wrt:
            if x in self.active.get(name, ()):
                one = name == x and name not in self.stores
                found[x] = number(1.0) if one else self.known.get((name, x)) or load(self._tangent(name, x))
        return found

    def _is_active(self, node: ast.AST) -> bool:
        return any(isinstance(n, ast.Name) and self.active.get(n.id) for n in ast.walk(node))

    # -- statements

    def _block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        outer: list[ast.stmt] | None = getattr(self, "block", None)
        self.block: list[ast.stmt] = []
        for statement in statements:
            self.line = statement.lineno
            self._statement(statement)
        written, self.block = self.block, outer or []
        return written

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                self._assign(targets, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign([target], value)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self._assign([node.target], ast.copy_location(ast.BinOp(load(name), op, value), node))
            case ast.If(test=test, body=body, orelse=orelse):
                self.block.append(ast.If(test, self._block(body), self._block(orelse)))
            case ast.While(test=test, body=body, orelse=orelse):
                self.block.append(ast.While(test, self._block(body), self._block(orelse)))
            case ast.For():
                self._for(node)
            case ast.Return(value=ast.expr() as value):
                self._return(value)
            case ast.Break() | ast.Continue():
                self.block.append(node)
            case ast.Pass() | ast.AnnAssign(value=None) | ast.Expr(value=ast.Constant()):
                pass
            case _:
                self._refuse(f"`{ast.unparse(node).splitlines()[0]}`", node)

    def _assign(self, targets: Sequence[ast.expr], value: ast.expr) -> None:
        if len(targets) > 1 or isinstance(targets[0], ast.Name):
            dual = self._expression(value)
            dual = Dual(self._atom(dual.value), {x: self._atom(t) for x, t in dual.tangents.items()}) if len(targets) > 1 else dual
            for target in targets:
                self._store([self._target(target)], [dual])
        elif isinstance(targets[0], (ast.Tuple, ast.List)):
            names, duals = [self._target(t) for t in targets[0].elts], self._values(value)
            if len(names) != len(duals):
                self._refuse(f"{len(duals)} values for {len(names)} variables", value)
            self._store(names, duals)
        else:
            self._target(targets[0])

    def _target(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Name):
            self._refuse(f"the assignment to `{ast.unparse(node)}`", node)
        return node.id

    def _store(self, names: Sequence[str], duals: Sequence[Dual]) -> None:
        """Tangents first: they are written with the old values."""
        for name, dual in zip(names, duals, strict=True):
            known = self.active.setdefault(name, set())
            self.changed = self.changed or not known.issuperset(dual.tangents)
            known.update(dual.tangents)
        for x in self.wrt:
            pairs = [(n, d.tangents.get(x, number(0.0))) for n, d in zip(names, duals, strict=True) if x in self.active[n]]
            if pairs:
                self.block.append(assign([self._tangent(n, x) for n, _ in pairs], [t for _, t in pairs]))
            self.known.update({(n, x): t for n, t in pairs if self.stores[n] == 1 and rules.is_number(t)})
        self.block.append(assign(list(names), [d.value for d in duals]))

    def _for(self, node: ast.For) -> None:
        flat = isinstance(node.iter, ast.Call) and self._rule(node.iter) == "flat"
        if self._is_active(node.iter) and not flat:
            self._refuse(f"a loop over `{ast.unparse(node.iter)}`", node)
        name = self._target(node.target)
        still = [assign([self._tangent(name, x)], [number(0.0)]) for x in self.wrt if x in self.active.get(name, ())]
        self.block.append(ast.For(node.target, node.iter, still + self._block(node.body), self._block(node.orelse), lineno=0))

    def _return(self, value: ast.expr) -> None:
        self.single = not isinstance(value, ast.Tuple) and not _tuples(value)
        duals = self._values(value)
        self.single = self.single and len(duals) == 1
        self.results = self.results or [set() for _ in duals]
        if len(duals) != len(self.results):
            self._refuse(f"returns of {len(self.results)} and of {len(duals)} values", value)
        for found, dual in zip(self.results, duals, strict=True):
            self.changed = self.changed or not found.issuperset(dual.tangents)
            found.update(dual.tangents)
        self.block.append(ast.Return(self.give(duals, self.parts)))

    # -- expressions

    def _values(self, node: ast.expr) -> list[Dual]:
        """Of a tuple, a call that returns one, or a single expression."""
        if isinstance(node, ast.Tuple):
            return [self._expression(e) for e in node.elts]
        if isinstance(node, ast.IfExp) and _tuples(node):
            assert isinstance(node.body, ast.Tuple)
            assert isinstance(node.orelse, ast.Tuple)
            sides = zip(node.body.elts, node.orelse.elts, strict=False)
            return [self._expression(ast.copy_location(ast.IfExp(node.test, a, b), node)) for a, b in sides]
        if isinstance(node, ast.Call) and self._rule(node) is None:
            return self._call_helper(node)
        return [self._expression(node)]

    def _atom(self, node: ast.expr) -> ast.expr:
        """The expression where it may be written often, else a variable that holds it."""
        inner = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node
        while isinstance(inner, ast.Attribute):
            inner = inner.value
        if isinstance(inner, (ast.Name, ast.Constant)):
            return node
        name = self._new()
        self.block.append(assign([name], [node]))
        return load(name)

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
        """A known function: its rules written for these arguments."""
        used = [rule for rule, a in zip(rules.RULES[name], arguments, strict=True) if a.tangents]
        letters = ("x", "y")[: len(arguments)]
        values = [self._atom(a.value) if any(rules.mentions(r, letter) for r in used) else a.value
                  for letter, a in zip(letters, arguments, strict=True)]  # fmt: skip
        out = build(values)
        if any(rules.mentions(r, "out") for r in used):
            out = self._atom(out)
        parts = {**dict(zip(letters, values, strict=True)), "out": out}
        return Dual(out, self._sum((a, lambda d, r=rule: rules.write(r, MATH, d=d, **parts))  # type: ignore[misc]
                                   for a, rule in zip(arguments, rules.RULES[name], strict=True)))  # fmt: skip

    def _sum(self, terms: Any) -> Tangents:
        """The chain rule: for every input, the sum of what each argument's tangent gives."""
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
        rule = "out * log(x)" if base is not None and base > 0 else rules.GROWTH
        return rules.write(rule, MATH, x=x if base is None else number(float(base)), y=y, out=out)

    def _constant(self, node: ast.expr) -> float | None:
        """The number that a literal or a global stands for."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self._constant(node.operand)
            return None if inner is None else -inner
        value = node.value if isinstance(node, ast.Constant) else self._resolve(node)
        finite = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**31
        return value if finite else None  # type: ignore[return-value]

    def _choice(self, node: ast.IfExp) -> Dual:
        """A conditional expression; a statement where a side needs variables, so that it is not computed in vain."""
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
        branches = [before + [assign([n], [_real(v)]) for n, v in zip(names, values, strict=True)]
                    for before, values in ((before_a, left), (before_b, right))]  # fmt: skip
        self.block.append(ast.If(test, *branches))
        return Dual(load(names[0]), {x: load(n) for x, n in zip(by, names[1:], strict=True)})

    # -- calls

    def _resolve(self, node: ast.expr) -> Any:
        """The object that a global name or an attribute of one stands for; None where there is none."""
        if isinstance(node, ast.Attribute):
            return getattr(self._resolve(node.value), node.attr, None)
        if isinstance(node, ast.Name) and node.id not in self.stores and node.id not in self.parameters:
            return self.namespace.get(node.id, getattr(builtins, node.id, None))
        return None

    def _rule(self, node: ast.Call) -> str | None:
        return rules.rule_of(self._resolve(node.func))

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
        """max and min, two at a time; equal arguments give half of their tangents each."""
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
        """A call of a Python or Numba function: of one that returns the derivatives too."""
        function = self._resolve(node.func)
        plain = getattr(function, "py_func", function)
        module = (getattr(plain, "__module__", None) or "").partition(".")[0]
        if not inspect.isfunction(plain) or module in ("numpy", "scipy", "math", "numba"):
            if self._is_active(node):
                self._refuse(f"no derivative is known of `{ast.unparse(node.func)}`", node)
            return [Dual(node, {})]
        bound = self._bind(plain, node)
        active = tuple(name for name, dual in bound.items() if dual.tangents)
        helper = self.helper(function, active)
        values = iter([dual.value for dual in bound.values()])
        call = ast.Call(node.func, [next(values) for _ in node.args], [ast.keyword(k.arg, next(values)) for k in node.keywords])
        return self._take(helper, call, bound, plain.__name__)

    def _bind(self, function: Any, node: ast.Call) -> dict[str, Dual]:
        """The arguments by parameter, in the order of the call."""
        try:
            given = {k.arg: k.value for k in node.keywords if k.arg is not None}
            bound = inspect.signature(function).bind(*node.args, **given).arguments
        except TypeError as error:
            self._refuse(f"`{ast.unparse(node)}`: {error}", node)
        order = {id(a): position for position, a in enumerate((*node.args, *given.values()))}
        if len(order) != len(bound) or any(id(a) not in order for a in bound.values()):
            self._refuse(f"`{ast.unparse(node)}`: any number of arguments", node)
        return {name: self._expression(a) for name, a in sorted(bound.items(), key=lambda item: order[id(item[1])])}

    def _take(self, helper: Helper, call: ast.Call, bound: Mapping[str, Dual], name: str) -> list[Dual]:
        """The results of a helper in variables, with the chain rule for its derivatives."""
        if helper.single and not any(helper.parts):
            return [Dual(call, {})]
        self.names.setdefault(id(helper.function), "")
        if not self.names[id(helper.function)]:
            self.names[id(helper.function)] = self._fresh(f"{name}_dual")
            self.namespace[self.names[id(helper.function)]] = helper.function
        call = ast.Call(load(self.names[id(helper.function)]), call.args, call.keywords)
        values = [self._new() for _ in helper.parts]
        slopes = [{p: self._new() for p in part} for part in helper.parts]
        self.block.append(assign([*values, *(s for part in slopes for s in part.values())], [call]))
        return [
            Dual(load(value), self._sum((bound[p], lambda d, s=s: multiply(d, load(s))) for p, s in part.items()))  # type: ignore[misc]
            for value, part in zip(values, slopes, strict=True)
        ]


def _tuples(node: ast.expr) -> bool:
    return isinstance(node, ast.IfExp) and isinstance(node.body, ast.Tuple) and isinstance(node.orelse, ast.Tuple)


def _real(node: ast.expr) -> ast.expr:
    """An integer literal as a floating one: both branches assign the same type."""
    whole = isinstance(node, ast.Constant) and type(node.value) is int
    return number(float(node.value)) if whole and isinstance(node, ast.Constant) else node  # type: ignore[arg-type]


# -- what nobody reads


def prune(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements without assignments that no result depends on."""
    read: set[str] = set()
    size = -1
    while size < len(read):
        size = len(read)
        _mark(body, read)
    return list(_kept(body, read))


def names_read(nodes: Sequence[ast.AST]) -> set[str]:
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _needed(node: ast.stmt, read: set[str]) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(n, ast.Name) and n.id in read for n in ast.walk(node.targets[0]))
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
