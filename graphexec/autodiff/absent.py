"""What an op makes of a delta that does not exist: nothing, another operand, or a computation with zeros.

A rule in terms of ops is called with all deltas of an op's outputs. One that nobody computed is 0, but a zero that is multiplied
by NaN or infinity is NaN. So what a rule multiplies with an absent delta is absent too, and what it adds an absent delta to stays
unchanged. Ops are judged by what they are: an elementwise op by its function, a view, a sum, a product of matrices.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection

from graphexec.autodiff.scalar import rules
from graphexec.codegen.specialize import parse
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp, ViewOp

NOTHING = -1
"""The result is absent, too."""


def result_without(op: Op, absent: Collection[int]) -> int | None:
    """Returns NOTHING, or the slot of the operand that the result equals, or None where the op must compute with zeros."""
    if not absent or len(op.outputs) > 1:
        return None
    return _result(op, frozenset(absent))


@functools.cache
def _result(op: Op, absent: frozenset[int]) -> int | None:
    if isinstance(op, ViewOp):
        return NOTHING if 0 in absent else None
    if isinstance(op, ReductionOp):
        adds = op.identity == 0 and _read(op, set(_parameters(op))) == NOTHING
        return NOTHING if 0 in absent and adds else None
    if op.gemm is not None and op.gemm.accumulate is None:
        return NOTHING if absent & {op.gemm.a, op.gemm.b} else None
    if isinstance(op, ElementwiseOp) and not op.variadic:
        return _read(op, {op.inputs[slot] for slot in absent})
    return None


def _parameters(op: Op) -> list[str]:
    tree = parse(op.function)
    return [] if tree is None else [a.arg for a in tree.body[0].args.args]  # type: ignore[attr-defined]


def _read(op: Op, absent: set[str]) -> int | None:
    """Reads the result from a function that is one expression, with 0 for what is absent."""
    tree = parse(op.function)
    body = [] if tree is None else tree.body[0].body  # type: ignore[attr-defined]
    body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        return None
    left = _without(body[0].value, absent)
    if rules.is_number(left, 0.0):
        return NOTHING
    return op.inputs.index(left.id) if isinstance(left, ast.Name) and left.id in op.inputs else None


def _without(node: ast.expr, absent: set[str]) -> ast.expr:
    match node:
        case ast.Name(id=name) if name in absent:
            return rules.number(0.0)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return rules.multiply(_without(left, absent), _without(right, absent))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            total = rules.add(_without(left, absent), _without(right, absent))
            assert total is not None
            return total
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            total = rules.add(_without(left, absent), rules.negative(_without(right, absent)))
            assert total is not None
            return total
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            top = _without(left, absent)
            return top if rules.is_number(top, 0.0) else ast.BinOp(top, ast.Div(), _without(right, absent))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return rules.negative(_without(operand, absent))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            a, b = _without(body, absent), _without(orelse, absent)
            return a if rules.is_number(a, 0.0) and rules.is_number(b, 0.0) else ast.IfExp(test, a, b)
    return node
