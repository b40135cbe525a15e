"""specialize: rewrites the source of an op's function so that Numba compiles it for given attributes and one element type.

- Attributes are keyword-only, which Numba does not accept: numbers become positional arguments, other attributes become constants,
  and branches on constants are resolved.
- `1 - x` with a float32 x would be computed in float64: literals get the element type, as in NumPy.
- The function keeps its globals and line numbers, so that errors point to the author's file.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

LITERAL = "_literal"
"""The name of the call around a number that takes the element type."""
_INTEGER_CALLS = {"range", "int", "len", "round", "divmod", "enumerate", "float", "bool"}


class Specialized(NamedTuple):
    """A function for given attributes: its syntax tree, and the namespace in which its names are looked up."""

    tree: ast.FunctionDef
    namespace: dict[str, Any]
    file: str


def specialized(function: Callable[..., Any], constants: Mapping[str, Any], *, scalar: bool) -> Specialized | None:
    """The function with ``constants`` in place of those parameters, the others positional, and literals marked by `LITERAL`.

    In ``scalar`` functions integer literals are marked too; in array kernels integers are indices. None without source text.
    """
    tree = parse(function)
    if tree is None:
        return None
    node = tree.body[0]
    assert isinstance(node, ast.FunctionDef)
    node.decorator_list = []
    keywords = [a for a in node.args.kwonlyargs if a.arg not in constants]
    many = [] if node.args.vararg is None else [node.args.vararg]  # a variadic op gets its operands as one tuple
    node.args.args = [a for a in node.args.args if a.arg not in constants] + many + keywords
    node.args.vararg = None
    node.args.kwonlyargs, node.args.kw_defaults, node.args.defaults = [], [], []
    for argument in [*node.args.args, *node.args.posonlyargs]:
        argument.annotation = None
    node.returns = None
    node = _Literals(scalar).visit(_Constants(dict(constants)).visit(node))
    ast.fix_missing_locations(node)
    node.name = "".join(c if c.isalnum() else "_" for c in node.name)
    namespace = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    return Specialized(node, namespace, function.__code__.co_filename)


def specialize(function: Callable[..., Any], constants: Mapping[str, Any], element: Any, *, scalar: bool) -> Callable[..., Any]:
    """The function that `specialized` describes, with literals of type ``element``.

    Without source text (a function typed at a prompt) literals keep their own types.
    """
    found = specialized(function, constants, scalar=scalar)
    if found is None:
        return _without_source(function, constants)
    namespace = {**found.namespace, LITERAL: element}
    module = ast.Module([found.tree], [])
    exec(compile(module, found.file, "exec"), namespace)  # the author's own code, which is already loaded
    result: Callable[..., Any] = namespace[found.tree.name]
    return result


@functools.lru_cache(maxsize=4096)
def _text(function: Callable[..., Any]) -> tuple[str, int] | None:
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return None
    return textwrap.dedent("".join(lines)), first


def parse(function: Callable[..., Any]) -> ast.Module | None:
    """The function's syntax tree with the line numbers of its file; None if there is no source text of a plain `def`."""
    found = _text(function)
    if found is None:
        return None
    try:
        tree = ast.parse(found[0])
    except SyntaxError:
        return None
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef):
        return None
    return ast.increment_lineno(tree, found[1] - 1)


def _without_source(function: Callable[..., Any], constants: Mapping[str, Any]) -> Callable[..., Any]:
    code = function.__code__
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    if any(k in constants for k in keywords):
        raise ValueError("attributes that are not numbers need the function's source text: put the op into a file")
    positional = code.replace(co_argcount=code.co_argcount + len(keywords), co_kwonlyargcount=0)
    return types.FunctionType(positional, dict(function.__globals__), function.__name__, None, function.__closure__)


class _Constants(ast.NodeTransformer):
    """Substitutes constants and resolves branches that then depend on constants alone."""

    def __init__(self, constants: dict[str, Any]) -> None:
        self.constants = constants

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self.constants:
            return ast.copy_location(_syntax(self.constants[node.id]), node)
        return node

    def visit_If(self, node: ast.If) -> Any:
        node.test = self.visit(node.test)
        known = _known(node.test)
        if known is None:
            node.body = self._block(node.body)
            node.orelse = self._block(node.orelse)
            return node
        return self._block(node.body if known[0] else node.orelse) or ast.copy_location(ast.Pass(), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test = self.visit(node.test)
        known = _known(node.test)
        if known is not None:
            chosen: ast.AST = self.visit(node.body if known[0] else node.orelse)
            return chosen
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        return node

    def _block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for statement in statements:
            new = self.visit(statement)
            out.extend(new if isinstance(new, list) else [new])
        return out


def _syntax(value: Any) -> ast.expr:
    """An attribute's value as a syntax tree; `ast.Constant` also holds NaN and infinities, which have no literal."""
    return ast.Tuple([_syntax(v) for v in value], ast.Load()) if isinstance(value, tuple) else ast.Constant(value)


def _known(test: ast.expr) -> tuple[bool] | None:
    """The truth value of a test of constants, as a 1-tuple; None for other tests."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _known(test.operand)
        return None if inner is None else (not inner[0],)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        sides = [_value(test.left), _value(test.comparators[0])]
        if None in sides:
            return None
        left, right = sides[0][0], sides[1][0]  # type: ignore[index]
        outcome: Any = {
            ast.Eq: lambda: left == right, ast.NotEq: lambda: left != right, ast.Is: lambda: left is right,
            ast.IsNot: lambda: left is not right, ast.In: lambda: left in right, ast.NotIn: lambda: left not in right,
        }.get(type(test.ops[0]))  # fmt: skip
        return None if outcome is None else (bool(outcome()),)
    if isinstance(test, ast.BoolOp):
        parts = [_known(v) for v in test.values]
        decisive = isinstance(test.op, ast.Or)
        if any(p == (decisive,) for p in parts):
            return (decisive,)
        return (not decisive,) if all(p is not None for p in parts) else None
    value = _value(test)
    return None if value is None else (bool(value[0]),)


def _value(node: ast.expr) -> tuple[Any] | None:
    try:
        return (ast.literal_eval(node),)
    except ValueError:
        return None


class _Literals(ast.NodeTransformer):
    """Wraps numbers that are combined with elements: `1 - x` becomes `_literal(1) - x`."""

    def __init__(self, scalar: bool) -> None:
        self.scalar = scalar

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return _wrapped(node) if isinstance(node.value, float) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
            node.left, node.right = self._element(node.left), self._element(node.right)
        elif isinstance(node.op, ast.Pow):
            match node.right:
                case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as exponent):  # Numba raises for 0 ** -1; NumPy gives inf
                    power = ast.copy_location(ast.BinOp(node.left, ast.Pow(), exponent), node)
                    one = ast.copy_location(ast.Constant(1), node)
                    return self.visit_BinOp(ast.copy_location(ast.BinOp(one, ast.Div(), power), node))
            node.left, node.right = self._element(node.left), self._exponent(node.right)
        else:
            self.generic_visit(node)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        node.left = self._element(node.left)
        node.comparators = [self._element(c) for c in node.comparators]
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test = self.visit(node.test)
        node.body, node.orelse = self._element(node.body), self._element(node.orelse)
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        if isinstance(node.value, ast.Tuple):
            node.value.elts = [self._element(e) for e in node.value.elts]
        elif node.value is not None:
            node.value = self._element(node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in _INTEGER_CALLS:
            return node
        node.args = [self._element(a) for a in node.args]
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        node.value = self.visit(node.value)
        return node  # an index keeps its integers

    def _exponent(self, node: ast.expr) -> Any:
        """`x ** 2` keeps its integer: Numba multiplies instead of calling pow."""
        return node if isinstance(node, ast.Constant) and isinstance(node.value, int) else self.visit(node)

    def _element(self, node: ast.expr) -> Any:
        inner = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node
        if self.scalar and isinstance(inner, ast.Constant) and type(inner.value) is int:
            return _wrapped(node)
        return self.visit(node)


def _wrapped(node: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Call(ast.Name(LITERAL, ast.Load()), [node], []), node)
