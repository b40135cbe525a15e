"""The machinery of a derivation: source text in, dual functions of called helpers, compiled source text out."""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable, Sequence
from typing import Any

import graphexec.math
from graphexec.autodiff.scalar import rules
from graphexec.autodiff.scalar.dead_code import prune
from graphexec.autodiff.scalar.statements import DualWriter
from graphexec.autodiff.scalar.variables import MATH, Dual, Helper, NotDifferentiable
from graphexec.codegen.specialize import parse
from graphexec.errors import DifferentiationError
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.spec import DTYPES

Namespace = dict[str, Any]

_WITHOUT_TEXT = "Python keeps no text of what is typed at its prompt, piped into it, or given to -c or exec."


class Derivation:
    """Derives from one op's function, and keeps the dual versions of the functions that it calls."""

    def __init__(self, op: ElementwiseOp) -> None:
        self.op = op
        self.helpers: dict[tuple[Any, tuple[str, ...]], Helper] = {}
        self.open: list[Any] = []

    def source(self, function: Callable[..., Any]) -> tuple[ast.FunctionDef, Namespace]:
        """Returns the function's syntax tree and the names in its scope. *Raises* DifferentiationError if it has no source text."""
        function = getattr(function, "py_func", function)
        module = parse(function)
        if module is None:
            error = self.error(function, "a function without source text", None)
            error.todo = f"{error.todo.rstrip('.')}, or put the op into a file: {_WITHOUT_TEXT}" if error.todo else None
            raise error
        tree = module.body[0]
        assert isinstance(tree, ast.FunctionDef)
        namespace = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
        namespace[MATH] = graphexec.math
        return tree, namespace

    def write(self, function: Callable[..., Any], writer: DualWriter) -> list[ast.stmt]:
        """Runs a writer over the tree of a function. *Raises* DifferentiationError at the construct that has no derivative."""
        self.open.append(function)
        try:
            return prune(writer.run())
        except NotDifferentiable as refused:
            raise self.error(function, refused.what, refused.line) from None
        finally:
            self.open.pop()

    def helper(self, called: Any, wrt: tuple[str, ...]) -> Helper:
        """Returns a function that gives the results of ``called`` and their derivatives by the parameters ``wrt``."""
        if (called, wrt) not in self.helpers:
            plain = getattr(called, "py_func", called)
            if plain in self.open:
                raise NotDifferentiable(f"`{plain.__name__}` calls itself, which", plain.__code__.co_firstlineno)
            tree, namespace = self.source(plain)
            writer = DualWriter(tree, namespace, wrt, _with_slopes, self.helper)
            body = self.write(plain, writer)
            for argument in (*tree.args.posonlyargs, *tree.args.args):
                argument.annotation = None
            name = identifier(f"{plain.__name__}_dual")
            function = compile_function(name, tree.args, body, namespace, f"derived {plain.__name__} with slopes")
            made = function if plain is called else type(called)(py_func=function, targetoptions=dict(called.targetoptions))
            self.helpers[called, wrt] = Helper(made, writer.parts, writer.single)
        return self.helpers[called, wrt]

    def error(self, function: Callable[..., Any], what: str, line: int | None) -> DifferentiationError:
        """The error for a construct that has no derivative."""
        code = function.__code__
        root = self.op
        while isinstance(root.forward, ElementwiseOp):
            root = root.forward
        rule = f"@{root.name}.backward" if root is self.op else f"@{root.name}.gradient, written in ops"
        return DifferentiationError(
            f"{what} cannot be differentiated", op=self.op.name, source=f"{code.co_filename}:{line or code.co_firstlineno}",
            facts=[f"in the function {code.co_name!r}"], todo=f"Give the op a rule with {rule}.",
        )  # fmt: skip


def compile_function(
    name: str, arguments: ast.arguments, body: list[ast.stmt], namespace: Namespace, title: str
) -> Callable[..., Any]:
    """Compiles a function from its tree, with source text that `inspect` and tracebacks find."""
    tree = ast.FunctionDef(name=name, args=arguments, body=body or [ast.Pass()], decorator_list=[], lineno=1)
    text = ast.unparse(ast.fix_missing_locations(ast.Module([tree], []))) + "\n"
    lines = text.splitlines(True)
    filename, number = f"<{title}>", 1
    while filename in linecache.cache and linecache.getlines(filename) != lines:  # another op of that name
        number += 1
        filename = f"<{title} {number}>"
    linecache.cache[filename] = (len(text), None, lines, filename)
    exec(compile(text, filename, "exec"), namespace)  # generated from the author's own code, which is already loaded
    function: Callable[..., Any] = namespace.pop(name)
    return function


def make_arguments(inputs: Sequence[str], attributes: Sequence[str] | dict[str, Any], *old: ast.arguments) -> ast.arguments:
    """The parameters of a derived function: operands, then attributes with the defaults that they have in ``old``."""
    defaults = {a.arg: d for given in old for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)}
    return ast.arguments(
        posonlyargs=[], args=[ast.arg(p) for p in inputs], defaults=[], kwonlyargs=[ast.arg(k) for k in attributes],
        kw_defaults=[defaults[k] for k in attributes],
    )  # fmt: skip


def rename(tree: ast.FunctionDef, namespace: Namespace, deltas: Sequence[str]) -> None:
    """Renames the author's variables that have the name of a delta."""
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    for old in (d for d in deltas if d in names):
        new = old + "_"
        while new in names or new in namespace:
            new += "_"
        if old in namespace:
            namespace[new] = namespace[old]
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id == old:
                node.id = new


def identifier(name: str) -> str:
    """The name of an op as a name of a function."""
    return "".join(c if c.isalnum() else "_" for c in name)


def is_floating(op: ElementwiseOp, name: str) -> bool:
    """Whether an operand or output of an op has a floating type."""
    return DTYPES[op.types.get(name, "float32")] == "f"


def _with_slopes(duals: Sequence[Dual], parts: Sequence[Sequence[str]]) -> ast.expr:
    """The return value of a helper: its results, then the derivatives of each."""
    slopes = [dual.tangents.get(x, rules.number(0.0)) for dual, part in zip(duals, parts, strict=True) for x in part]
    return ast.Tuple([*(dual.value for dual in duals), *slopes], ast.Load())
