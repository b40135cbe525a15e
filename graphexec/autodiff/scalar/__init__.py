"""derive_backward: derives the backward op of an elementwise op from the source of its scalar function.

    out = f(x, y, ...)
    d_x = d_out * df/dx,  d_y = d_out * df/dy,  ...      summed over the outputs if there are several

Forward mode suits an elementwise op: it has few inputs, and one pass computes the value and its derivatives. The derived
op is an ordinary elementwise op with source text, so it can be differentiated again. Source: Griewank and Walther,
"Evaluating Derivatives", 2008, section 3.1.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import graphexec.math
from graphexec.autodiff.scalar import rules
from graphexec.autodiff.scalar.statements import DualWriter
from graphexec.autodiff.scalar.variables import MATH, Dual, Helper, NotDifferentiable
from graphexec.codegen.specialize import parse
from graphexec.errors import DifferentiationError
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.spec import DTYPES


def derive_backward(op: ElementwiseOp) -> ElementwiseOp:
    """Returns the op ``<op>.backward``: it takes the deltas of the outputs and the values it reads, and gives one delta per input.

    *Raises* DifferentiationError for a construct or a called function without a known derivative.
    """
    return _Derivation(op).backward()


def backward_of(op: Op) -> Op | None:
    """Returns the declared backward op, else one derived from an elementwise function, else None.

    *Raises* DifferentiationError as :func:`derive_backward`.
    """
    if op.backward_op is not None or not isinstance(op, ElementwiseOp) or not op.differentiable:
        return op.backward_op
    return _derived(op)


_derived = functools.cache(derive_backward)
"""Cached by op identity: each op is derived once."""


class _Derivation:
    """One op's derivation, with the dual versions of the functions that it calls."""

    def __init__(self, op: ElementwiseOp) -> None:
        self.op = op
        self.helpers: dict[tuple[Any, tuple[str, ...]], Helper] = {}
        self.open: list[Any] = []

    def backward(self) -> ElementwiseOp:
        op, outputs = self.op, _delta_names(self.op)
        self._check()
        tree, namespace = self._source(op.function)
        given = [f"d_{o}" if _is_floating(op, o) else None for o in op.outputs]
        deltas = [d for d in given if d is not None]
        _rename(tree, namespace, deltas)

        def give(duals: Sequence[Dual], parts: Sequence[Sequence[str]]) -> ast.expr:
            if len(duals) != len(given):
                raise NotDifferentiable(f"{len(duals)} values for {len(given)} outputs", tree.lineno)
            return _deltas(given, duals, op.differentiable_inputs)

        body = self._write(op.function, DualWriter(tree, namespace, op.differentiable_inputs, give, self._helper))
        read = names_read(body)
        inputs = tuple(d for d in deltas if d in read) or (*deltas[:1],)
        inputs += tuple(p for p in op.inputs if p in read)
        attributes = {k: v for k, v in op.attributes.items() if k in read}
        arguments = _arguments(inputs, attributes, tree.args)
        function = compile_function(_identifier(f"{op.name}.backward"), arguments, body, namespace, f"derived {op.name}.backward")
        types = {n: op.types[p] for n, p in zip(outputs, op.differentiable_inputs, strict=True) if p in op.types}
        types |= {p: t for p, t in op.types.items() if p in inputs}
        types |= {d: op.types[o] for d, o in zip(given, op.outputs, strict=True) if d in inputs and o in op.types}
        return ElementwiseOp(
            name=f"{op.name}.backward", function=function, inputs=inputs, outputs=outputs, types=types, kinds="f",
            attributes=attributes, file=op.file, doc=f"Backward rule of {op.name}, derived from its function.", forward=op,
        )  # fmt: skip

    def _check(self) -> None:
        if self.op.variadic:
            raise self._error(self.op.function, "any number of operands", None)
        if not self.op.differentiable_inputs:
            raise self._error(self.op.function, "a function without floating operands", None)
        if not any(_is_floating(self.op, o) for o in self.op.outputs):
            raise self._error(self.op.function, "a function without floating results", None)

    # -- functions

    def _source(self, function: Callable[..., Any]) -> tuple[ast.FunctionDef, dict[str, Any]]:
        """Returns the function's syntax tree and the names in its scope."""
        function = getattr(function, "py_func", function)
        module = parse(function)
        if module is None:
            raise self._error(function, "a function without source text", None)
        tree = module.body[0]
        assert isinstance(tree, ast.FunctionDef)
        namespace = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
        namespace[MATH] = graphexec.math
        return tree, namespace

    def _write(self, function: Callable[..., Any], writer: DualWriter) -> list[ast.stmt]:
        self.open.append(function)
        try:
            return prune(writer.run())
        except NotDifferentiable as refused:
            raise self._error(function, refused.what, refused.line) from None
        finally:
            self.open.pop()

    def _helper(self, called: Any, wrt: tuple[str, ...]) -> Helper:
        """Returns a function that gives the results of ``called`` and their derivatives by the parameters ``wrt``."""
        if (called, wrt) not in self.helpers:
            plain = getattr(called, "py_func", called)
            if plain in self.open:
                raise NotDifferentiable(f"`{plain.__name__}` calls itself, which", plain.__code__.co_firstlineno)
            tree, namespace = self._source(plain)
            writer = DualWriter(tree, namespace, wrt, _with_slopes, self._helper)
            body = self._write(plain, writer)
            for argument in (*tree.args.posonlyargs, *tree.args.args):
                argument.annotation = None
            name = _identifier(f"{plain.__name__}_dual")
            function = compile_function(name, tree.args, body, namespace, f"derived {plain.__name__} with slopes")
            made = function if plain is called else type(called)(py_func=function, targetoptions=dict(called.targetoptions))
            self.helpers[called, wrt] = Helper(made, writer.parts, writer.single)
        return self.helpers[called, wrt]

    def _error(self, function: Callable[..., Any], what: str, line: int | None) -> DifferentiationError:
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
    name: str, arguments: ast.arguments, body: list[ast.stmt], namespace: dict[str, Any], title: str
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


def _delta_names(op: ElementwiseOp) -> tuple[str, ...]:
    """``d_x``; ``d2_x`` for a backward op, which already has an operand ``d_out``; and so on."""
    depth, forward = 1, op.forward
    while forward is not None:
        depth, forward = depth + 1, forward.forward
    taken = {*op.inputs, *(f"d_{o}" for o in op.outputs)}
    while True:
        names = tuple(f"d{depth if depth > 1 else ''}_{p}" for p in op.differentiable_inputs)
        if not taken.intersection((*names, *(f"d_{n}" for n in names))):  # the next derivation's deltas must be free too
            return names
        depth += 1


def _is_floating(op: ElementwiseOp, name: str) -> bool:
    return DTYPES[op.types.get(name, "float32")] == "f"


def _deltas(given: Sequence[str | None], duals: Sequence[Dual], inputs: Sequence[str]) -> ast.expr:
    """The return value of a backward function: for each input, the sum over outputs of delta times derivative."""
    deltas: list[ast.expr] = []
    for x in inputs:
        total: ast.expr | None = None
        for name, dual in zip(given, duals, strict=True):
            if name is not None and x in dual.tangents:
                total = rules.add(total, rules.multiply(rules.load(name), dual.tangents[x]))
        deltas.append(rules.number(0.0) if total is None else total)
    return deltas[0] if len(deltas) == 1 else ast.Tuple(deltas, ast.Load())


def _with_slopes(duals: Sequence[Dual], parts: Sequence[Sequence[str]]) -> ast.expr:
    """The return value of a helper: its results, then the derivatives of each."""
    slopes = [dual.tangents.get(x, rules.number(0.0)) for dual, part in zip(duals, parts, strict=True) for x in part]
    return ast.Tuple([*(dual.value for dual in duals), *slopes], ast.Load())


def _arguments(inputs: Sequence[str], attributes: Sequence[str] | dict[str, Any], old: ast.arguments) -> ast.arguments:
    defaults = {a.arg: d for a, d in zip(old.kwonlyargs, old.kw_defaults, strict=True)}
    return ast.arguments(
        posonlyargs=[], args=[ast.arg(p) for p in inputs], defaults=[], kwonlyargs=[ast.arg(k) for k in attributes],
        kw_defaults=[defaults[k] for k in attributes],
    )  # fmt: skip


def _rename(tree: ast.FunctionDef, namespace: dict[str, Any], deltas: Sequence[str]) -> None:
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


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


# -- dead code


def prune(body: list[ast.stmt]) -> list[ast.stmt]:
    """Removes assignments that no result depends on."""
    read: set[str] = set()
    size = -1
    while size < len(read):
        size = len(read)
        _mark(body, read)
    return list(_kept(body, read))


def names_read(nodes: Sequence[ast.AST]) -> set[str]:
    """Returns the names that nodes of a syntax tree read."""
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _needed(node: ast.stmt, read: set[str]) -> bool:
    if isinstance(node, (ast.Assign, ast.AugAssign)):
        target = node.target if isinstance(node, ast.AugAssign) else node.targets[0]
        return any(isinstance(n, ast.Name) and n.id in read for n in ast.walk(target))
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
