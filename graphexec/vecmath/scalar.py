"""scalar: LLVM scalars whose Python operators emit instructions, and error-free transformations of sums and products."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir


class Scalar:
    """An LLVM scalar; operators on it emit instructions, and Python numbers take its type."""

    __slots__ = ("builder", "value")

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    @property
    def type(self) -> Any:
        return self.value.type

    @property
    def width(self) -> int:
        """Bits: 32 or 64."""
        if isinstance(self.type, ir.IntType):
            return int(self.type.width)
        return 64 if isinstance(self.type, ir.DoubleType) else 32

    def like(self, other: Scalar | float) -> Scalar:
        """A constant of this scalar's type, or the other scalar itself."""
        return other if isinstance(other, Scalar) else Scalar(self.builder, ir.Constant(self.type, other))

    def _emit(self, integer: str, real: str, other: Scalar | float, swap: bool = False) -> Scalar:
        a, b = (self.like(other), self) if swap else (self, self.like(other))
        name = integer if isinstance(self.type, ir.IntType) else real
        return Scalar(self.builder, getattr(self.builder, name)(a.value, b.value))

    def __add__(self, other: Scalar | float) -> Scalar:
        return self._emit("add", "fadd", other)

    def __radd__(self, other: float) -> Scalar:
        return self._emit("add", "fadd", other, swap=True)

    def __sub__(self, other: Scalar | float) -> Scalar:
        return self._emit("sub", "fsub", other)

    def __rsub__(self, other: float) -> Scalar:
        return self._emit("sub", "fsub", other, swap=True)

    def __mul__(self, other: Scalar | float) -> Scalar:
        return self._emit("mul", "fmul", other)

    def __rmul__(self, other: float) -> Scalar:
        return self._emit("mul", "fmul", other, swap=True)

    def __truediv__(self, other: Scalar | float) -> Scalar:
        return self._emit("", "fdiv", other)

    def __rtruediv__(self, other: float) -> Scalar:
        return self._emit("", "fdiv", other, swap=True)

    def __and__(self, other: Scalar | int) -> Scalar:
        return self._emit("and_", "", other)

    def __or__(self, other: Scalar | int) -> Scalar:
        return self._emit("or_", "", other)

    def __xor__(self, other: Scalar | int) -> Scalar:
        return self._emit("xor", "", other)

    def __lshift__(self, other: int) -> Scalar:
        return self._emit("shl", "", other)

    def __rshift__(self, other: int) -> Scalar:
        """Logical shift: zeros come in from the left."""
        return self._emit("lshr", "", other)

    def __neg__(self) -> Scalar:
        return Scalar(self.builder, self.builder.fneg(self.value))

    def _compare(self, relation: str, other: Scalar | float) -> Scalar:
        integer = isinstance(self.type, ir.IntType)
        compare = self.builder.icmp_signed if integer else self.builder.fcmp_ordered
        return Scalar(self.builder, compare(relation, self.value, self.like(other).value))

    def __lt__(self, other: Scalar | float) -> Scalar:
        return self._compare("<", other)

    def __gt__(self, other: Scalar | float) -> Scalar:
        return self._compare(">", other)

    def __ge__(self, other: Scalar | float) -> Scalar:
        return self._compare(">=", other)

    def equals(self, other: Scalar | float) -> Scalar:
        """Comparison; `==` keeps its Python meaning."""
        return self._compare("==", other)

    def bits(self) -> Scalar:
        """The float's bit pattern as an integer."""
        return Scalar(self.builder, self.builder.bitcast(self.value, ir.IntType(self.width)))

    def real(self) -> Scalar:
        """The float with this bit pattern."""
        return Scalar(self.builder, self.builder.bitcast(self.value, _REAL[self.width]))

    def call(self, name: str, *others: Scalar | float) -> Scalar:
        """Calls an LLVM intrinsic that is overloaded on this type."""
        args = [self.value, *(self.like(other).value for other in others)]
        signature = ir.FunctionType(self.type, [self.type] * len(args))
        function = self.builder.module.declare_intrinsic(name, [self.type], signature)
        return Scalar(self.builder, self.builder.call(function, args))


_REAL = {32: ir.FloatType(), 64: ir.DoubleType()}


def fma(a: Scalar, b: Scalar | float, c: Scalar | float) -> Scalar:
    """a * b + c, rounded once."""
    return a.call("llvm.fma", b, c)


def rint(x: Scalar) -> Scalar:
    return x.call("llvm.rint")


def fabs(x: Scalar) -> Scalar:
    return x.call("llvm.fabs")


def sqrt(x: Scalar) -> Scalar:
    return x.call("llvm.sqrt")


def copysign(magnitude: Scalar, sign: Scalar) -> Scalar:
    return magnitude.call("llvm.copysign", sign)


def with_sign(magnitude: Scalar, sign: Scalar) -> Scalar:
    """`copysign` for a magnitude that is positive or already has this sign."""
    return (magnitude.bits() | (sign.bits() & sign.like(-0.0).bits())).real()


def select(condition: Scalar, a: Scalar | float, b: Scalar | float) -> Scalar:
    """a if the condition holds, else b; at least one of them is a `Scalar`."""
    if not isinstance(a, Scalar):
        assert isinstance(b, Scalar)
        a = b.like(a)
    return Scalar(a.builder, a.builder.select(condition.value, a.value, a.like(b).value))


def clamp(x: Scalar, low: float, high: float) -> Scalar:
    """x held to [low, high]; NaN stays NaN."""
    x = select(x > high, high, x)
    return select(x < low, low, x)


def widen(x: Scalar) -> Scalar:
    """float32 to float64."""
    return Scalar(x.builder, x.builder.fpext(x.value, _REAL[64]))


def narrow(x: Scalar) -> Scalar:
    """float64 to float32, rounded."""
    return Scalar(x.builder, x.builder.fptrunc(x.value, _REAL[32]))


def polynomial(x: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    """Coefficients from the lowest power. Terms are combined in pairs or fours, then by Horner's scheme (Estrin): a third of the
    latency of Horner's scheme alone.

    If their number is odd, the lowest term stays alone and is rounded only once, in the last sum.
    """
    if len(coefficients) % 2:
        return fma(x, polynomial(x, coefficients[1:]), coefficients[0])
    square = x * x
    terms = _pairs(x, coefficients)
    if len(coefficients) > 6:
        terms, square = _pairs(square, terms), square * square
    total = x.like(terms[-1])
    for term in terms[-2::-1]:
        total = fma(total, square, term)
    return total


def _pairs(x: Scalar, terms: Sequence[Scalar | float]) -> list[Scalar | float]:
    """a + b x for each pair of terms."""
    pairs = zip_longest(terms[::2], terms[1::2])
    return [a if b is None else fma(x, b, a) for a, b in pairs]


def two_sum(a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
    """a + b and its rounding error (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def fast_two_sum(a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
    """a + b and its rounding error where |a| >= |b| or a = 0 (Dekker)."""
    total = a + b
    return total, (a - total) + b


def two_product(a: Scalar, b: Scalar | float) -> tuple[Scalar, Scalar]:
    """a * b and its rounding error."""
    product = a * b
    return product, fma(a, b, -product)


def divide(a: Scalar, a_low: Scalar | float, b: Scalar, b_low: Scalar | float) -> Scalar:
    """(a + a_low) / (b + b_low): the quotient of the high parts, refined once by its remainder."""
    inverse = 1 / b
    q = a * inverse
    return fma(fma(-q, b, a) + fma(-q, b_low, a_low), inverse, q)


class Format(NamedTuple):
    """The parameters of IEEE binary32 or binary64, and ranges outside which a function is constant."""

    digits: int  # stored bits of the significand
    bias: int  # of the exponent
    exp_range: tuple[float, float]  # outside, e**x has certainly reached 0 or infinity
    exp2_range: tuple[float, float]
    sigmoid_range: tuple[float, float]  # outside, 1 / (1 + e**-x) is 0 or 1
    expm1_range: tuple[float, float]  # outside, e**x - 1 is -1 or infinity

    @property
    def magic(self) -> float:
        """Adding and subtracting it rounds to an integer; the low bits of the sum hold that integer."""
        return 1.5 * 2.0**self.digits

    @property
    def smallest(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)


_FORMAT = {
    32: Format(23, 127, (-104.0, 92.0), (-151.0, 130.0), (-104.0, 30.0), (-18.0, 89.0)),
    64: Format(52, 1023, (-746.0, 712.0), (-1076.0, 1026.0), (-746.0, 40.0), (-40.0, 710.0)),
}
INF, NAN = float("inf"), float("nan")


def format_of(x: Scalar) -> Format:
    return _FORMAT[x.width]


Pair = tuple[float, float]  # a constant in twice the precision of float64: the nearest double and the remainder
LN2: Pair = (0.6931471805599453, 2.3190468138462996e-17)
LOG2_E: Pair = (1.4426950408889634, 2.0355273740931033e-17)
LOG10_E: Pair = (0.4342944819032518, 1.098319650216765e-17)
LOG10_2: Pair = (0.3010299956639812, -2.8037281277851704e-18)
PI: Pair = (3.141592653589793, 1.2246467991473532e-16)
HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
TWO_LOG2_E: Pair = (2.8853900817779268, 4.0710547481862066e-17)
TWO_THIRDS_LOG2_E: Pair = (0.9617966939259756, 5.0577616648125907e-17)


def split(pair: Pair, width: int, scale: float = 1.0) -> Pair:
    """The constant as a sum of two numbers of the given width."""
    high, low = pair[0] * scale, pair[1] * scale
    if width == 64:
        return high, low
    rounded = float(np.float32(high))
    return rounded, float(np.float32(high - rounded + low))
