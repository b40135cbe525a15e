"""may_fail: tells whether the kernel of an op can report an error or raise an exception, from its source.

A function fails where it says so, and where an operation of Numba's can: it allocates, it assigns an array to a part of another,
it takes an element of a tuple or a list by a computed index. What is not known here may fail.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp

_NUMBERS = (range, len, min, max, abs, int, float, bool, round, divmod, zip, enumerate, *vars(math).values())
"""Functions of numbers, and loops, which do not fail."""

_PARTS = {"size", "ndim", "shape", "T", "itemsize", "strides", "flat", "sum", "max", "min", "mean", "any", "all", "fill", "item"}
"""Attributes and methods of an array that allocate nothing."""


@functools.cache
def may_fail(op: Op) -> bool:
    """Whether the op's kernel may return a status other than 0, or raise."""
    parts = [call.op for call in (*getattr(op, "calls", ()), *getattr(op, "closings", ()))]
    parts += [getattr(op, name) for name in ("product", "epilogue", "rule") if hasattr(op, name)]
    if parts:  # an op that passes have fused
        return any(map(may_fail, parts))
    if not isinstance(op, (KernelOp, ElementwiseOp, ReductionOp)):
        return False
    return _Source(op.function, isinstance(op, KernelOp), getattr(op, "raises", True)).fails(set(), [])


@functools.cache
def raising_lines(op: Op) -> tuple[str, ...]:
    """The file and line of each `raise` and `assert` in an op's function and those that it calls: compiled code contains them."""
    found: list[str] = []
    _Source(op.function).fails(set(), found)
    return tuple(sorted(found))


class _Source:
    """The source of a function, and what its names stand for."""

    def __init__(self, function: Callable[..., Any], kernel: bool = False, raises: bool = True) -> None:
        self.function, self.kernel, self.raises = getattr(function, "py_func", function), kernel, raises
        self.known: Mapping[str, Any] = {}
        if isinstance(self.function, types.FunctionType):
            scope = inspect.getclosurevars(self.function)
            self.known = {**scope.builtins, **scope.globals, **scope.nonlocals}

    def fails(self, seen: set[Any], lines: list[str]) -> bool:
        """Whether it or a function that it calls may fail; without source, it may. Adds the raising ones to ``lines``."""
        if self.function in seen:
            return False
        seen.add(self.function)
        if not isinstance(self.function, types.FunctionType):  # NumPy's have source text, but no code of their own
            return True
        try:
            text, first = inspect.getsourcelines(self.function)
            tree = ast.parse(textwrap.dedent("".join(text)))
        except (OSError, TypeError, SyntaxError):
            return True
        found = tree.body[0]
        if not isinstance(found, ast.FunctionDef):  # a lambda within a longer statement
            return self.kernel
        attributes = {a.arg for a in found.args.kwonlyargs}
        tuples = attributes | {n for n, v in self.known.items() if isinstance(v, (tuple, list))} | set(_tuples(found))
        nodes = [node for statement in found.body for node in ast.walk(statement)]
        file = self.function.__code__.co_filename
        lines += [f"{file}:{first + n.lineno - 1}" for n in nodes if isinstance(n, (ast.Raise, ast.Assert))]
        failing = [node for node in nodes if self._fails(node, tuples, seen, lines)]
        return bool(failing)

    def _fails(self, node: ast.AST, tuples: set[str], seen: set[Any], lines: list[str]) -> bool:
        match node:
            case ast.Return(value=value):
                return self.kernel and not self._is_zero(value)
            case _ if not self.raises:
                return False
            case ast.Raise() | ast.Assert() | ast.ListComp() | ast.Dict() | ast.Set() | ast.Try() | ast.With():
                return True
            case ast.Assign(targets=[ast.Subscript(slice=index)], value=value) | ast.AugAssign(
                target=ast.Subscript(slice=index), value=value
            ):  # fmt: skip
                return _is_part(index) and not isinstance(value, ast.Constant)
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                return name in tuples and not isinstance(index, (ast.Constant, ast.UnaryOp))
            case ast.Call(func=callee):
                return self._call_fails(callee, seen, lines)
        return False

    def _call_fails(self, callee: ast.expr, seen: set[Any], lines: list[str]) -> bool:
        if isinstance(callee, ast.Attribute) and not isinstance(callee.value, ast.Name):
            return callee.attr not in _PARTS
        value = self._value(callee)
        if value is None:
            return not (isinstance(callee, ast.Attribute) and callee.attr in _PARTS)
        if any(value is known for known in _NUMBERS) or isinstance(value, np.ufunc):
            return False
        if isinstance(value, type) and issubclass(value, np.generic):  # a conversion
            return False
        return not is_engine(value) and _Source(value).fails(seen, lines)

    def _value(self, expression: ast.expr) -> Any:
        if isinstance(expression, ast.Name):
            return self.known.get(expression.id)
        if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
            module = self.known.get(expression.value.id)
            return getattr(module, expression.attr, None) if isinstance(module, types.ModuleType) else None
        return None

    def _is_zero(self, value: ast.expr | None) -> bool:
        if isinstance(value, ast.Call):
            return is_engine(self._value(value.func))
        return value is None or (isinstance(value, ast.Constant) and (value.value is None or value.value == 0))


def is_engine(function: Any) -> bool:
    """Whether a function stands for the engine's own code, such as the matrix product, which does not fail."""
    return (getattr(function, "__module__", None) or "").partition(".")[0] == "graphexec"


def _is_part(index: ast.expr) -> bool:
    """Whether an index selects several elements."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return any(isinstance(p, ast.Slice) or (isinstance(p, ast.Constant) and p.value is ...) for p in parts)


def _tuples(function: ast.FunctionDef) -> Iterator[str]:
    """Local names that stand for tuples or lists."""
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Tuple() | ast.List() | ast.Call()):
                yield name
