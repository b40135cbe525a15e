"""scalar_values: numbers of LLVM IR with the types that Numba gives them, and the operations on them.

An operation on a float32 and an integer is one in float64, for example, and two integers give an int64.
"""

from __future__ import annotations

import ast
import math as libm
from collections.abc import Sequence
from typing import Any, NamedTuple

from llvmlite import ir

import graphexec.math as public
from graphexec.vecmath.functions import EMITTERS
from graphexec.vecmath.scalar import Scalar

INT32, INT64 = ir.IntType(32), ir.IntType(64)
KINDS = {"float32": ir.FloatType(), "float64": ir.DoubleType(), "int32": INT32, "int64": INT64, "bool": ir.IntType(1)}
"""The LLVM type of each element type."""
PASSED = {**KINDS, "bool": ir.IntType(8)}
"""The LLVM type of an argument or result of each element type."""
REAL = ("float32", "float64")
_CONTRACT = ("contract",)
_BINARY: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("fadd", "add"), ast.Sub: ("fsub", "sub"), ast.Mult: ("fmul", "mul"), ast.Div: ("fdiv", ""),
    ast.BitAnd: ("", "and_"), ast.BitOr: ("", "or_"), ast.BitXor: ("", "xor"), ast.LShift: ("", "shl"), ast.RShift: ("", "ashr"),
}  # fmt: skip
_TESTS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip


class Unsupported(Exception):
    """A construct that Numba must compile."""


class Typed(NamedTuple):
    """A number of the function: its type, and the LLVM value."""

    type: str
    value: Any


def number(dtype: str, value: float) -> Typed:
    """A constant, converted as Numba converts it."""
    if dtype not in REAL and isinstance(value, float):
        if not libm.isfinite(value):
            raise Unsupported("a number that is not finite, as an integer")
        value = int(value)
    if dtype in ("int32", "int64"):
        bits = 32 if dtype == "int32" else 64
        if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise Unsupported("an integer that does not fit")
    return Typed(dtype, ir.Constant(KINDS[dtype], bool(value) if dtype == "bool" else value))


def common_type(a: str, b: str) -> str:
    """The type of a variable that gets values of two types."""
    if a == b:
        return a
    if "bool" in (a, b):
        raise Unsupported("a truth value or a number")
    return "int64" if a not in REAL and b not in REAL else "float64"


class TypedBuilder:
    """Emits operations on typed numbers. Methods raise Unsupported for what only Numba compiles."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def binary(self, operator: type[ast.operator], a: Typed, b: Typed) -> Typed:
        """An operator of two numbers."""
        if operator in (ast.FloorDiv, ast.Mod):
            return self._floor_divided(a, b)[operator is ast.Mod]
        real, whole = _BINARY.get(operator, ("", ""))
        if a.type in REAL or b.type in REAL or operator is ast.Div:
            if not real:
                raise Unsupported(operator.__name__)
            both = "float32" if a.type == b.type == "float32" else "float64"
            values = [self.converted(x, both).value for x in (a, b)]
            return Typed(both, getattr(self.builder, real)(*values, flags=_CONTRACT))
        if not whole:
            raise Unsupported(operator.__name__)
        both = "bool" if a.type == b.type == "bool" and whole in ("and_", "or_", "xor") else "int64"
        return Typed(both, getattr(self.builder, whole)(*(self.converted(x, both).value for x in (a, b))))

    def _floor_divided(self, a: Typed, b: Typed) -> tuple[Typed, Typed]:
        """``a // b`` and ``a % b``, which has the sign of b."""
        if a.type in REAL or b.type in REAL:
            both = "float32" if a.type == b.type == "float32" else "float64"
            found = self._divided_reals(*(self.converted(x, both).value for x in (a, b)))
        else:
            both = "int64"
            found = self._divided_integers(*(self.converted(x, both).value for x in (a, b)))
        return Typed(both, found[0]), Typed(both, found[1])

    def _divided_reals(self, x: Any, y: Any) -> tuple[Any, Any]:
        """As Python's float_divmod, but x / 0 is an infinity or NaN."""
        b, zero, one = self.builder, x.type(0.0), x.type(1.0)
        rest = b.frem(x, y)
        quotient = b.fdiv(b.fsub(x, rest), y)
        below = b.fcmp_ordered("<", y, zero)
        inexact = b.fcmp_unordered("!=", rest, zero)
        turned = b.and_(inexact, b.xor(below, b.fcmp_ordered("<", rest, zero)))  # rest and y have different signs
        quotient = b.select(turned, b.fsub(quotient, one), quotient)
        remainder = b.select(inexact, b.select(turned, b.fadd(rest, y), rest), b.select(below, x.type(-0.0), zero))
        floor = Scalar(b, quotient).call("llvm.floor").value
        near = b.fcmp_ordered(">", b.fsub(quotient, floor), x.type(0.5))
        signed_zero = b.fdiv(b.fmul(b.fmul(quotient, quotient), x), y)
        whole = b.select(b.fcmp_ordered("!=", quotient, zero), b.select(near, b.fadd(floor, one), floor), signed_zero)
        by_zero = b.fcmp_ordered("==", y, zero)
        return b.select(by_zero, b.fdiv(x, y), whole), b.select(by_zero, rest, remainder)

    def _divided_integers(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Rounded down; 0 and 0 where the quotient does not exist: for y = 0, and for the least number by -1."""
        b, zero, one = self.builder, x.type(0), x.type(1)
        overflow = b.and_(b.icmp_signed("==", x, x.type(-(2**63))), b.icmp_signed("==", y, x.type(-1)))
        nothing = b.or_(overflow, b.icmp_signed("==", y, zero))
        divisor = b.select(nothing, one, y)
        quotient, rest = b.sdiv(x, divisor), b.srem(x, divisor)
        turned = b.and_(b.icmp_signed("!=", rest, zero), b.icmp_signed("<", b.xor(y, rest), zero))
        quotient = b.select(turned, b.sub(quotient, one), quotient)
        rest = b.select(turned, b.add(rest, y), rest)
        return b.select(nothing, zero, quotient), b.select(nothing, zero, rest)

    def magnitude(self, a: Typed) -> Typed:
        """The absolute value."""
        if a.type in REAL:
            return self.intrinsic("llvm.fabs", a)
        if a.type == "bool":
            raise Unsupported("abs of a truth value")
        below = self.builder.icmp_signed("<", a.value, a.value.type(0))
        return Typed(a.type, self.builder.select(below, self.builder.neg(a.value), a.value))

    def power(self, base: Typed, exponent: int) -> Typed:
        """A whole power by repeated squaring, as Numba multiplies."""
        if base.type not in REAL or abs(exponent) > 64:
            raise Unsupported("a power")
        builder, result, square, rest = self.builder, number(base.type, 1.0).value, base.value, abs(exponent)
        while rest:
            if rest & 1:
                result = builder.fmul(result, square, flags=_CONTRACT)
            rest >>= 1
            square = builder.fmul(square, square, flags=_CONTRACT) if rest else square
        if exponent < 0:
            result = builder.fdiv(number(base.type, 1.0).value, result, flags=_CONTRACT)
        return Typed(base.type, result)

    def unary(self, operator: ast.unaryop, a: Typed) -> Typed:
        """An operator of one number."""
        match operator:
            case ast.USub() if a.type in REAL:
                return Typed(a.type, self.builder.fneg(a.value))
            case ast.USub() if a.type != "bool":
                return self.converted(Typed(a.type, self.builder.neg(a.value)), "int64")
            case ast.UAdd() if a.type in REAL:
                return a
            case ast.Not():
                return Typed("bool", self.builder.not_(self.truth(a).value))
            case ast.Invert() if a.type in ("int32", "int64"):
                return Typed("int64", self.builder.not_(self.converted(a, "int64").value))
        raise Unsupported(type(operator).__name__)

    def truth(self, a: Typed) -> Typed:
        """Whether a number is not 0."""
        if a.type == "bool":
            return a
        zero = ir.Constant(KINDS[a.type], 0)
        compare = self.builder.fcmp_unordered if a.type in REAL else self.builder.icmp_signed
        return Typed("bool", compare("!=", a.value, zero))

    def connected(self, operator: ast.boolop, values: Sequence[Typed]) -> Typed:
        """`and` or `or` of truth values."""
        if any(v.type != "bool" for v in values):
            raise Unsupported("`and`, `or` of numbers")
        emit = self.builder.and_ if isinstance(operator, ast.And) else self.builder.or_
        found = values[0].value
        for v in values[1:]:
            found = emit(found, v.value)
        return Typed("bool", found)

    def compared(self, values: Sequence[Typed], tests: Sequence[ast.cmpop]) -> Typed:
        """A comparison of two or more numbers."""
        found: Any = None
        for a, b, test in zip(values, values[1:], tests, strict=False):
            relation = _TESTS.get(type(test))
            if relation is None:
                raise Unsupported(type(test).__name__)
            one = self.compare(relation, a, b)
            found = one if found is None else self.builder.and_(found, one)
        return Typed("bool", found)

    def compare(self, relation: str, a: Typed, b: Typed) -> Any:
        if a.type in REAL or b.type in REAL:
            both = "float32" if a.type == b.type == "float32" else "float64"
            compare = self.builder.fcmp_unordered if relation == "!=" else self.builder.fcmp_ordered
            return compare(relation, *(self.converted(x, both).value for x in (a, b)))
        both = a.type if a.type == b.type != "bool" else "int64"
        return self.builder.icmp_signed(relation, *(self.converted(x, both).value for x in (a, b)))

    def converted(self, a: Typed, dtype: str) -> Typed:
        """A number as one of a wider type."""
        if a.type == dtype:
            return a
        builder, to = self.builder, KINDS[dtype]
        if a.type == "bool":
            value = builder.uitofp(a.value, to) if dtype in REAL else builder.zext(a.value, to)
        elif dtype in REAL:
            if a.type in REAL:
                value = builder.fpext(a.value, to) if dtype == "float64" else builder.fptrunc(a.value, to)
            else:
                value = builder.sitofp(a.value, to)
        elif (a.type, dtype) == ("int32", "int64"):
            value = builder.sext(a.value, to)
        else:
            raise Unsupported(f"{a.type} as {dtype}")
        return Typed(dtype, value)

    def intrinsic(self, name: str, a: Typed) -> Typed:
        """An LLVM intrinsic of one number."""
        return Typed(a.type, Scalar(self.builder, a.value).call(name).value)

    def math(self, function: Any, given: Sequence[Typed]) -> Typed:
        """A function of `graphexec.math`."""
        if function is public.like and len(given) == 2 and given[1].type in REAL:
            return self.converted(given[0], given[1].type)
        emit = EMITTERS.get(function)
        if emit is None or len(given) != function.__code__.co_argcount:
            raise Unsupported(function.__name__)
        both = "float32" if all(a.type == "float32" for a in given) else "float64"
        return Typed(both, emit(*(Scalar(self.builder, self.converted(a, both).value) for a in given)).value)

    def extreme(self, relation: str, given: Sequence[Typed]) -> Typed:
        """The smallest or largest as Python has it: a NaN that comes first stays, a later one does not count."""
        if len({a.type for a in given}) != 1 or given[0].type == "bool":
            raise Unsupported("min, max of two types")
        found = given[0]
        for a in given[1:]:
            found = Typed(a.type, self.builder.select(self.compare(relation, a, found), a.value, found.value))
        return found

    def meeting(self, values: Sequence[Typed], ends: Sequence[Any], merge: Any) -> Typed:
        """The value that comes from one of the blocks ``ends`` to the block ``merge``."""
        if all(v.value is values[0].value for v in values):
            return values[0]
        both = common_type(values[0].type, values[1].type)
        incoming = []
        for value, end in zip(values, ends, strict=True):
            self.builder.position_before(end.terminator)
            incoming.append(self.converted(value, both).value)
        self.builder.position_at_end(merge)
        phi = self.builder.phi(KINDS[both])
        for value, end in zip(incoming, ends, strict=True):
            phi.add_incoming(value, end)
        return Typed(both, phi)
