"""Derivatives of the functions that an elementwise op may call, and the algebra that simplifies tangents.

A rule is an expression in ``x`` (and ``y``), the result ``out``, and ``d``, the tangent of its argument; it may call the
functions of `graphexec.math`. Kinks follow the built-in ops: abs has derivative 0 at 0 (NaN at NaN), and each of two equal
arguments of max or min gets half. Source: DLMF, sections 4 and 7.
"""

from __future__ import annotations

import ast
import builtins
import functools
import math as _libm
from collections.abc import Mapping
from typing import Any

import numpy as np

import graphexec.math as gx

RULES: dict[str, tuple[str, ...]] = {
    "exp": ("d * out",),
    "exp2": ("d * (0.6931471805599453 * out)",),  # log 2
    "expm1": ("d * exp(x)",),
    "log": ("d / x",),
    "log2": ("d / (0.6931471805599453 * x)",),
    "log10": ("d / (2.302585092994046 * x)",),  # log 10
    "log1p": ("d / (1 + x)",),
    "sqrt": ("0.5 * d / out",),
    "rsqrt": ("-0.5 * d * out * out * out",),
    "cbrt": ("d / (3 * out * out)",),
    "square": ("2 * d * x",),
    "reciprocal": ("-d * out * out",),
    "tanh": ("d * (1 - out * out)",),
    "sigmoid": ("d * (out * (1 - out))",),
    "softplus": ("d * sigmoid(x)",),
    "erf": ("1.1283791670955126 * d * exp(-x * x)",),  # 2 / sqrt(pi)
    "erfc": ("-1.1283791670955126 * d * exp(-x * x)",),
    "sin": ("d * cos(x)",),
    "cos": ("-d * sin(x)",),
    "tan": ("d * (1 + out * out)",),
    "atan": ("d / (1 + x * x)",),
    "asin": ("d / sqrt((1 - x) * (1 + x))",),
    "acos": ("-d / sqrt((1 - x) * (1 + x))",),
    "sinh": ("d * cosh(x)",),
    "cosh": ("d * sinh(x)",),
    "asinh": ("d / sqrt(1 + x * x)",),
    "acosh": ("d / (sqrt(x - 1) * sqrt(x + 1))",),
    "atanh": ("d / ((1 - x) * (1 + x))",),
    "atan2": ("d * y / (x * x + y * y)", "-d * x / (x * x + y * y)"),
    "hypot": ("d * x / out", "d * y / out"),
    "abs": ("d * (1.0 if x > 0 else -1.0 if x < 0 else x - x)",),
    "negative": ("-d",),
    "float": ("d",),
    "like": ("d", "0.0 * d"),
    "add": ("d", "d"),
    "subtract": ("d", "-d"),
    "multiply": ("d * y", "d * x"),
    "divide": ("d / y", "-d * out / y"),
}
"""Function name to one rule for each argument."""

SLOPE = "0.0 if y == 0 else y * pow(x, y - 1)"
"""The derivative of x**y by x."""

GROWTH = "0.0 if x == 0 and y >= 0 else out * log(x)"
"""The derivative of x**y by y; both agree with ops/elementwise/power.py."""

_ALIASES = {
    "arctan": "atan", "arcsin": "asin", "arccos": "acos", "arctan2": "atan2", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "absolute": "abs", "fabs": "abs", "power": "pow", "float32": "float", "float64": "float",
    "true_divide": "divide", "maximum": "max", "minimum": "min", "where": "where", "positive": "float",
}  # fmt: skip
_FLAT = (
    "floor", "ceil", "trunc", "rint", "round", "sign", "isnan", "isinf", "isfinite", "signbit", "int", "bool", "int32",
    "int64", "range", "len", "logical_and", "logical_or", "logical_not", "greater", "greater_equal", "less", "less_equal",
    "equal", "not_equal", "floor_divide",
)  # fmt: skip


def _known_functions() -> dict[Any, str]:
    names = {**{n: n for n in (*RULES, "pow")}, **_ALIASES, **dict.fromkeys(_FLAT, "flat")}
    known = {}
    for module in (np, _libm, gx):
        for name, rule in names.items():
            if callable(getattr(module, name, None)):
                known[getattr(module, name)] = rule
    for name in ("abs", "float", "pow", "min", "max", "int", "bool", "round", "range", "len"):
        known[getattr(builtins, name)] = names.get(name, name)
    return known


KNOWN = _known_functions()
"""Function object to a name in RULES, or to "pow", "max", "min", "where", or "flat" (the derivative is 0)."""


def rule_of(function: Any) -> str | None:
    """Returns the name of a function's rule; None for an unknown function."""
    try:
        return KNOWN.get(function)
    except TypeError:  # not hashable
        return None


# -- expressions


def number(value: float) -> ast.expr:
    """A literal; a negative number is a negated one."""
    text: ast.expr = ast.Constant(abs(value))
    return ast.UnaryOp(ast.USub(), text) if value < 0 else text


def load(name: str) -> ast.Name:
    """An expression that reads a variable."""
    return ast.Name(name, ast.Load())


def assign(names: list[str], values: list[ast.expr]) -> ast.stmt:
    """A statement that assigns all values at once."""
    targets: list[ast.expr] = [ast.Name(n, ast.Store()) for n in names]
    target = targets[0] if len(targets) == 1 else ast.Tuple(targets, ast.Store())
    value = values[0] if len(values) == 1 else ast.Tuple(values, ast.Load())
    return ast.Assign([target], value, lineno=0)


def is_number(node: ast.expr, value: float | None = None) -> bool:
    """Whether it is a float literal, with this value if one is given."""
    return isinstance(node, ast.Constant) and isinstance(node.value, float) and value in (None, node.value)


def real(node: ast.expr) -> ast.expr:
    """Turns an integer literal into a float, so that a variable keeps one type."""
    return number(float(node.value)) if isinstance(node, ast.Constant) and type(node.value) is int else node


def quotient(node: ast.expr) -> tuple[ast.expr, ast.Name, int] | None:
    """Reads ``a / v`` and ``a / v**n``, where v is a variable, as (a, v, n); None for anything else."""
    match node:
        case ast.BinOp(left=top, op=ast.Div(), right=ast.Name() as v):
            return top, v, 1
        case ast.BinOp(left=top, op=ast.Div(), right=ast.BinOp(ast.Name() as v, ast.Pow(), ast.Constant(int(n)))) if n > 0:
            return top, v, n
    return None


def over_power(top: ast.expr, v: ast.expr, n: int) -> ast.expr:
    """top / v**n."""
    return divide(top, v if n == 1 else ast.BinOp(v, ast.Pow(), ast.Constant(n)))


def multiply(a: ast.expr, b: ast.expr) -> ast.expr:
    """a * b, simplified; the choice between constants comes first, so that 0 is never multiplied by inf."""
    a, b = real(a), real(b)
    if is_number(a, 1.0) or is_number(b, 0.0):
        return b
    if is_number(b, 1.0) or is_number(a, 0.0):
        return a
    one, other = quotient(a), quotient(b)
    if one is not None and other is not None and ast.dump(one[1]) == ast.dump(other[1]):
        return over_power(multiply(one[0], other[0]), one[1], one[2] + other[2])
    match a, b:
        case ast.Constant(value=float(p)), ast.Constant(value=float(q)):
            return number(p * q)
        case ast.Constant(value=float(p)), ast.BinOp(left=ast.Constant(value=float(q)), op=ast.Mult(), right=rest):
            return multiply(number(p * q), rest)
        case ast.BinOp(left=ast.Constant(value=float(p)), op=ast.Mult(), right=rest), ast.Constant(value=float(q)):
            return multiply(number(p * q), rest)
        case ast.UnaryOp(op=ast.USub(), operand=inner), _:
            return negative(multiply(inner, b))
        case _, ast.UnaryOp(op=ast.USub(), operand=inner):
            return negative(multiply(a, inner))
        case ast.Name(), ast.IfExp(test=test, body=body, orelse=orelse) if is_number(body) or is_number(orelse):
            return ast.IfExp(test, multiply(a, body), multiply(a, orelse))
        case _, ast.BinOp(left=top, op=ast.Div(), right=bottom) if is_number(top):
            return ast.BinOp(multiply(a, top), ast.Div(), bottom)
    return ast.BinOp(a, ast.Mult(), b)


def negative(a: ast.expr) -> ast.expr:
    """-a, simplified."""
    if isinstance(a, ast.UnaryOp) and isinstance(a.op, ast.USub):
        return a.operand
    return a if is_number(a, 0.0) else ast.UnaryOp(ast.USub(), a)


def add(a: ast.expr | None, b: ast.expr | None) -> ast.expr | None:
    """a + b, simplified; None is 0."""
    if a is None or b is None or is_number(a, 0.0) or is_number(b, 0.0):
        return b if a is None or is_number(a, 0.0) else a
    if isinstance(b, ast.UnaryOp) and isinstance(b.op, ast.USub):
        cancel = is_number(a) and ast.dump(a) == ast.dump(b.operand)
        return number(0.0) if cancel else ast.BinOp(a, ast.Sub(), b.operand)
    return ast.BinOp(a, ast.Add(), b)


def divide(a: ast.expr, b: ast.expr) -> ast.expr:
    """a / b, simplified."""
    if isinstance(a, ast.UnaryOp) and isinstance(a.op, ast.USub):
        return negative(divide(a.operand, b))
    return ast.BinOp(a, ast.Div(), b)


@functools.cache
def parsed(rule: str) -> ast.expr:
    """The syntax tree of a rule."""
    return ast.parse(rule, mode="eval").body


def mentions(rule: str, name: str) -> bool:
    """Whether a rule uses a name."""
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(parsed(rule)))


def write(rule: str, module: str, **parts: ast.expr) -> ast.expr:
    """Writes a rule with expressions substituted for x, y, out and d; its functions are attributes of ``module``."""
    return _Write(module, parts).put(parsed(rule))


class _Write:
    def __init__(self, module: str, parts: Mapping[str, ast.expr]) -> None:
        self.module, self.parts = module, parts

    def put(self, node: ast.expr) -> ast.expr:
        match node:
            case ast.Name(id=name):
                return self.parts[name]
            case ast.Call(func=ast.Name(id=name), args=args):
                return ast.Call(ast.Attribute(load(self.module), name, ast.Load()), [self.put(a) for a in args], [])
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return multiply(self.put(left), self.put(right))
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return divide(self.put(left), self.put(right))
            case ast.BinOp(left=left, op=op, right=right):
                return ast.BinOp(self.put(left), op, self.put(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return negative(self.put(operand))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return ast.Compare(self.put(left), ops, [self.put(c) for c in others])
            case ast.BoolOp(op=op, values=values):
                return ast.BoolOp(op, [self.put(v) for v in values])
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return ast.IfExp(self.put(test), self.put(body), self.put(orelse))
        return node
