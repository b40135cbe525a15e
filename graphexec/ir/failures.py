"""may_fail: tells whether the kernel of an op can report an error, from its source."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
from collections.abc import Callable, Mapping
from typing import Any

from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op


@functools.cache
def may_fail(op: Op) -> bool:
    """Whether the op's kernel may return a status other than 0, or raise. Only array kernels can; the others are loops."""
    return isinstance(op, KernelOp) and _may_fail(op.function, set())


def _may_fail(function: Callable[..., Any], seen: set[Any]) -> bool:
    """Looks through the source of a function and of those that it calls; without source, it may."""
    if function in seen:
        return False
    seen.add(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return True
    scope = inspect.getclosurevars(function) if isinstance(function, types.FunctionType) else None
    known = {} if scope is None else {**scope.globals, **scope.nonlocals}
    used = [known.get(node.id) for node in ast.walk(tree) if isinstance(node, ast.Name)]
    for node in ast.walk(tree):
        if isinstance(node, (ast.Raise, ast.Assert)):
            return True
        if isinstance(node, ast.Return) and len(seen) == 1 and not _is_zero(node.value, known):
            return True
    return any(_may_fail(helper, seen) for helper in used if isinstance(helper, types.FunctionType) and not _is_engine(helper))


def _is_engine(function: Any) -> bool:
    """Whether a function stands for the engine's own code, such as the matrix product, which does not fail."""
    return (getattr(function, "__module__", None) or "").partition(".")[0] == "graphexec"


def _is_zero(value: ast.expr | None, known: Mapping[str, Any]) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return _is_engine(known.get(value.func.id))
    return value is None or (isinstance(value, ast.Constant) and (value.value is None or value.value == 0))
