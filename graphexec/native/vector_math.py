"""Native code of `graphexec.math`: branch-free, so LLVM inlines it into a loop and packs the loop into vectors.

A function here is written once, over `Lane`: a scalar whose Python operators emit LLVM instructions, in float32 or
float64 as its operand is. There are no branches (`select` takes their place), no tables but one, and no conversions
between float64 and int64, which AVX2 lacks. A product and a sum are rounded together exactly where `fma` says so: the
instructions carry no fast-math flags whatever flags the calling loop has, because NaN, infinity and compensated sums
need their usual meaning.

`register` makes Numba use these functions wherever `graphexec.math` is called. Polynomials are minimax fits (Remez's
exchange in 60 digits) of the quantity named beside them, lowest power first.
"""
from __future__ import annotations

import builtins
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

import graphexec.math as public

# --- Lanes ----------------------------------------------------------------------------------------------------------


class Lane:
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
        return self.type.width if isinstance(self.type, ir.IntType) else 64 if isinstance(self.type, ir.DoubleType) else 32

    def like(self, other: Lane | float) -> Lane:
        """A constant of this lane's type, or the other lane itself."""
        return other if isinstance(other, Lane) else Lane(self.builder, ir.Constant(self.type, other))

    def _emit(self, integer: str, real: str, other: Lane | float, swap: bool = False) -> Lane:
        a, b = (self.like(other), self) if swap else (self, self.like(other))
        name = integer if isinstance(self.type, ir.IntType) else real
        return Lane(self.builder, getattr(self.builder, name)(a.value, b.value))

    def __add__(self, other: Lane | float) -> Lane:
        return self._emit("add", "fadd", other)

    def __radd__(self, other: float) -> Lane:
        return self._emit("add", "fadd", other, swap=True)

    def __sub__(self, other: Lane | float) -> Lane:
        return self._emit("sub", "fsub", other)

    def __rsub__(self, other: float) -> Lane:
        return self._emit("sub", "fsub", other, swap=True)

    def __mul__(self, other: Lane | float) -> Lane:
        return self._emit("mul", "fmul", other)

    def __rmul__(self, other: float) -> Lane:
        return self._emit("mul", "fmul", other, swap=True)

    def __truediv__(self, other: Lane | float) -> Lane:
        return self._emit("", "fdiv", other)

    def __rtruediv__(self, other: float) -> Lane:
        return self._emit("", "fdiv", other, swap=True)

    def __and__(self, other: Lane | int) -> Lane:
        return self._emit("and_", "", other)

    def __or__(self, other: Lane | int) -> Lane:
        return self._emit("or_", "", other)

    def __xor__(self, other: Lane | int) -> Lane:
        return self._emit("xor", "", other)

    def __lshift__(self, other: int) -> Lane:
        return self._emit("shl", "", other)

    def __rshift__(self, other: int) -> Lane:
        """Logical shift: zeros come in from the left."""
        return self._emit("lshr", "", other)

    def __neg__(self) -> Lane:
        return Lane(self.builder, self.builder.fneg(self.value))

    def _compare(self, relation: str, other: Lane | float) -> Lane:
        integer = isinstance(self.type, ir.IntType)
        compare = self.builder.icmp_signed if integer else self.builder.fcmp_ordered
        return Lane(self.builder, compare(relation, self.value, self.like(other).value))

    def __lt__(self, other: Lane | float) -> Lane:
        return self._compare("<", other)

    def __gt__(self, other: Lane | float) -> Lane:
        return self._compare(">", other)

    def __ge__(self, other: Lane | float) -> Lane:
        return self._compare(">=", other)

    def equals(self, other: Lane | float) -> Lane:
        """Comparison; `==` keeps its Python meaning."""
        return self._compare("==", other)

    def bits(self) -> Lane:
        """The float's bit pattern as an integer."""
        return Lane(self.builder, self.builder.bitcast(self.value, ir.IntType(self.width)))

    def real(self) -> Lane:
        """The float with this bit pattern."""
        return Lane(self.builder, self.builder.bitcast(self.value, _REAL[self.width]))

    def call(self, name: str, *others: Lane | float) -> Lane:
        """An LLVM intrinsic of lanes of this type."""
        args = [self.value, *(self.like(other).value for other in others)]
        function = self.builder.module.declare_intrinsic(name, [self.type], ir.FunctionType(self.type, [self.type] * len(args)))
        return Lane(self.builder, self.builder.call(function, args))


_REAL = {32: ir.FloatType(), 64: ir.DoubleType()}


def fma(a: Lane, b: Lane | float, c: Lane | float) -> Lane:
    """a * b + c, rounded once."""
    return a.call("llvm.fma", b, c)


def rint(x: Lane) -> Lane:
    return x.call("llvm.rint")


def fabs(x: Lane) -> Lane:
    return x.call("llvm.fabs")


def copysign(magnitude: Lane, sign: Lane) -> Lane:
    return magnitude.call("llvm.copysign", sign)


def select(condition: Lane, a: Lane | float, b: Lane | float) -> Lane:
    """a where the condition holds, else b; one of them at least is a lane."""
    if not isinstance(a, Lane):
        assert isinstance(b, Lane)
        a = b.like(a)
    return Lane(a.builder, a.builder.select(condition.value, a.value, a.like(b).value))


def clamp(x: Lane, low: float, high: float) -> Lane:
    """x held to [low, high]; NaN stays NaN."""
    x = select(x > high, high, x)
    return select(x < low, low, x)


def widen(x: Lane) -> Lane:
    """float32 to float64."""
    return Lane(x.builder, x.builder.fpext(x.value, _REAL[64]))


def narrow(x: Lane) -> Lane:
    """float64 to float32, rounded."""
    return Lane(x.builder, x.builder.fptrunc(x.value, _REAL[32]))


def polynomial(x: Lane, coefficients: tuple[float, ...]) -> Lane:
    """Horner's scheme, lowest power first."""
    total = x.like(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = fma(total, x, coefficient)
    return total


def two_sum(a: Lane, b: Lane) -> tuple[Lane, Lane]:
    """a + b and its rounding error (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def fast_two_sum(a: Lane, b: Lane) -> tuple[Lane, Lane]:
    """a + b and its rounding error where |a| >= |b| or a = 0 (Dekker)."""
    total = a + b
    return total, (a - total) + b


def two_product(a: Lane, b: Lane | float) -> tuple[Lane, Lane]:
    """a * b and its rounding error."""
    product = a * b
    return product, fma(a, b, -product)


# --- Formats and constants ------------------------------------------------------------------------------------------


class Format(NamedTuple):
    """What the functions need to know about IEEE binary32 or binary64."""

    digits: int  # stored bits of the significand
    bias: int  # of the exponent
    exp_range: tuple[float, float]  # outside, e**x has certainly reached 0 or infinity
    exp2_range: tuple[float, float]
    expm1_low: float  # below, e**x - 1 is -1

    @property
    def magic(self) -> float:
        """Adding and subtracting it rounds to an integer, which stands in the low bits of the sum."""
        return 1.5 * 2**self.digits

    @property
    def smallest(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)


_FORMAT = {
    32: Format(23, 127, (-104.0, 92.0), (-151.0, 130.0), -18.0),
    64: Format(52, 1023, (-746.0, 712.0), (-1076.0, 1026.0), -40.0),
}
_INF, _NAN = float("inf"), float("nan")
_SQRT_HALF = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}  # bit patterns of 1/sqrt(2)


def _format(x: Lane) -> Format:
    return _FORMAT[x.width]


Pair = tuple[float, float]  # a constant to twice the precision of float64: its nearest double, and the rest
_LN2: Pair = (0.6931471805599453, 2.3190468138462996e-17)
_LOG2_E: Pair = (1.4426950408889634, 2.0355273740931033e-17)
_LOG10_E: Pair = (0.4342944819032518, 1.098319650216765e-17)
_LOG10_2: Pair = (0.3010299956639812, -2.8037281277851704e-18)
_PI: Pair = (3.141592653589793, 1.2246467991473532e-16)
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
_TWO_LOG2_E: Pair = (2.8853900817779268, 4.0710547481862066e-17)
_TWO_THIRDS_LOG2_E: Pair = (0.9617966939259756, 5.0577616648125907e-17)


def _split(pair: Pair, width: int, scale: float = 1.0) -> Pair:
    """The constant as a sum of two numbers of the width."""
    high, low = pair[0] * scale, pair[1] * scale
    if width == 64:
        return high, low
    rounded = float(np.float32(high))
    return rounded, float(np.float32(high - rounded + low))


# --- Exponentials ---------------------------------------------------------------------------------------------------

# (e**r - 1 - r) / r**2 on |r| <= ln(2)/2
_EXP = {
    32: (0.5, 0.16666543, 0.04166628, 0.00836661, 0.0013946455),
    64: (0.5, 0.16666666666666677, 0.0416666666666667, 0.008333333333321579, 0.0013888888888866837,
         0.00019841269886265394, 2.480158736058281e-05, 2.7557244062532272e-06, 2.7557242717091546e-07,
         2.5109090257461788e-08, 2.0924461765268614e-09),
}  # fmt: skip
# (2**r - 1) / r on |r| <= 1/2
_EXP2 = {
    32: (0.6931472, 0.2402265, 0.055504102, 0.009618038, 0.0013333935, 0.00015466764, 1.5196405e-05),
    64: (0.6931471805599453, 0.24022650695910072, 0.05550410866482169, 0.00961812910762833, 0.0013333558146392688,
         0.0001540353039364082, 1.52527338543203e-05, 1.3215486594851205e-06, 1.0178051941108021e-07,
         7.054974496432829e-09, 4.4565706363368493e-10, 2.5625399779714766e-11),
}  # fmt: skip
# (sinh(r) - r) / r**3 in r**2, on |r| <= 1
_SINH = {
    32: (0.16666667, 0.0083333505, 0.00019836066, 2.8174445e-06),
    64: (0.16666666666666669, 0.008333333333333139, 0.00019841269841437538, 2.7557319155371747e-06,
         2.5052123394661675e-08, 1.6057240527115364e-10, 7.75930971548982e-13),
}  # fmt: skip


def _round(x: Lane, factor: float = 1.0) -> Lane:
    """The integer nearest to x * factor, for products well below 2**digits."""
    magic = _format(x).magic
    return (x + magic if factor == 1 else fma(x, factor, magic)) - magic


def _power_of_two(n: Lane) -> Lane:
    """2**n for a whole-numbered float n of a normal power."""
    f = _format(n)
    return ((n + (f.magic + f.bias)).bits() << f.digits).real()


def _scale(m: Lane, n: Lane) -> Lane:
    """m * 2**n, in two steps so that the result may be subnormal or infinite; rounded once."""
    half = _round(n, 0.5)
    return m * _power_of_two(half) * _power_of_two(n - half)


def _exp_parts(x: Lane) -> tuple[Lane, Lane]:
    """p and n of e**x = (1 + p) * 2**n, |p| < 0.42."""
    ln2 = _split(_LN2, x.width)
    n = _round(x, _LOG2_E[0])
    r = fma(n, -ln2[1], fma(n, -ln2[0], x))
    return fma(polynomial(r, _EXP[x.width]), r * r, r), n


def exp(x: Lane) -> Lane:
    p, n = _exp_parts(clamp(x, *_format(x).exp_range))
    return _scale(1 + p, n)


def _exp_negative(x: Lane) -> Lane:
    """e**x for x <= 0, which cannot overflow."""
    p, n = _exp_parts(select(x < _format(x).exp_range[0], _format(x).exp_range[0], x))
    return _scale(1 + p, n)


def exp2(x: Lane) -> Lane:
    x = clamp(x, *_format(x).exp2_range)
    n = _round(x)
    r = x - n
    return _scale(fma(r, polynomial(r, _EXP2[x.width]), 1.0), n)


def expm1(x: Lane) -> Lane:
    f = _format(x)
    p, n = _exp_parts(clamp(x, f.expm1_low, f.exp_range[1]))
    rest = 1 - _power_of_two(-select(n > 100, 100.0, n))
    return copysign(_scale(p + rest, n), x)


def _expm1_small(x: Lane) -> Lane:
    """expm1 for 0 <= x < 50, where its scale needs no care."""
    p, n = _exp_parts(x)
    scale = _power_of_two(n)
    return fma(p, scale, scale - 1)


def tanh(x: Lane) -> Lane:
    t = fabs(x)
    t = _expm1_small(2 * select(t > 20, 20.0, t))
    return copysign(t / (t + 2), x)


def sigmoid(x: Lane) -> Lane:
    e = _exp_negative(-fabs(x))
    return select(x < 0, e, 1.0) / (1 + e)


def _half_exp(x: Lane) -> Lane:
    """e**x / 2 for x >= 0; overflows only where it must."""
    high = _format(x).exp_range[1]
    p, n = _exp_parts(select(x > high, high, x))
    return _scale(1 + p, n - 1)


def sinh(x: Lane) -> Lane:
    size = fabs(x)
    h = _half_exp(size)
    z = x * x
    return select(size < 1, fma(x * z, polynomial(z, _SINH[x.width]), x), copysign(h - 0.25 / h, x))


def cosh(x: Lane) -> Lane:
    h = _half_exp(fabs(x))
    return h + 0.25 / h


# --- Logarithms -----------------------------------------------------------------------------------------------------

# (log((1 + s)/(1 - s)) - 2 s) / s**3 in s**2, for (1 + s)/(1 - s) in [1/sqrt(2), sqrt(2)]
_LOG = {
    32: (0.6666666, 0.40000334, 0.28537303, 0.23582299),
    64: (0.6666666666666734, 0.3999999999941552, 0.28571428742217064, 0.22222198588204356, 0.18183563693916482,
         0.15314062801547973, 0.14795865532902785),
}  # fmt: skip


def _decompose(x: Lane) -> tuple[Lane, Lane]:
    """k and m of x = 2**k * m, m in [1/sqrt(2), sqrt(2)), for positive finite x."""
    f = _format(x)
    subnormal = x < f.smallest
    lift = f.digits + 2
    x = select(subnormal, x * 2.0**lift, x)
    unit = f.bias << f.digits
    shifted = x.bits() + (unit - _SQRT_HALF[x.width])
    exponent = ((shifted >> f.digits) | ((f.bias + f.digits) << f.digits)).real()  # 2**digits + biased exponent
    k = exponent - select(subnormal, x.like(2.0**f.digits + f.bias + lift), 2.0**f.digits + f.bias)
    return k, ((shifted & ((1 << f.digits) - 1)) + _SQRT_HALF[x.width]).real()


def _log_parts(f: Lane) -> tuple[Lane, Lane, Lane]:
    """a, s, b of log(1 + f) = f - a + s * b: a = f**2 / 2 and the rest of the series."""
    s = f / (2 + f)
    z = s * s
    a = 0.5 * f * f
    return a, s, a + z * polynomial(z, _LOG[f.width])


def _log_ends(x: Lane, result: Lane) -> Lane:
    """Logarithm's special values put in: -inf at 0, NaN below, inf at inf."""
    result = select(x < _INF, result, x)
    return select(x > 0, result, select(x.equals(0.0), x.like(-_INF), _NAN))


def log(x: Lane) -> Lane:
    ln2 = _split(_LN2, x.width)
    k, m = _decompose(x)
    f = m - 1
    a, s, b = _log_parts(f)
    return _log_ends(x, fma(k, ln2[0], f - (a - fma(s, b, k * ln2[1]))))


def _log_based(x: Lane, log_e: Pair, log_2: Pair) -> Lane:
    """log(x) * log_e = k * log_2 + log(m) * log_e, the products carried with their errors."""
    log_e, log_2 = _split(log_e, x.width), _split(log_2, x.width)
    k, m = _decompose(x)
    f = m - 1
    a, s, b = _log_parts(f)
    high = f - a
    low = fma(s, b, (f - high) - a)
    y, y_low = two_product(high, log_e[0])
    y_low = fma(high, log_e[1], fma(low, log_e[0], y_low))
    z, z_low = (k, 0.0) if log_2 == (1.0, 0.0) else two_product(k, log_2[0])
    if log_2[1]:
        z_low = fma(k, log_2[1], z_low)
    total, rest = fast_two_sum(z, y)
    return _log_ends(x, total + (rest + (y_low + z_low)))


def log2(x: Lane) -> Lane:
    return _log_based(x, _LOG2_E, (1.0, 0.0))


def log10(x: Lane) -> Lane:
    return _log_based(x, _LOG10_E, _LOG10_2)


def _log1p_finite(x: Lane) -> Lane:
    """log(1 + x) for finite x > -1; the error of 1 + x is put back, divided by the sum."""
    ln2 = _split(_LN2, x.width)
    u, c = two_sum(x.like(1.0), x)
    k, m = _decompose(u)
    near = k.equals(0.0)
    f = select(near, x, m - 1)
    c = select(near, 0.0, c / u)
    a, s, b = _log_parts(f)
    return fma(k, ln2[0], f - (a - fma(s, b, fma(k, ln2[1], c))))


def log1p(x: Lane) -> Lane:
    result = select(x < _INF, copysign(_log1p_finite(x), x), x)
    return select(x > -1, result, select(x.equals(-1.0), x.like(-_INF), _NAN))


def softplus(x: Lane) -> Lane:
    return select(x < 0, 0.0, x) + _log1p_finite(_exp_negative(-fabs(x)))


# --- Roots and powers -----------------------------------------------------------------------------------------------


def sqrt(x: Lane) -> Lane:
    return x.call("llvm.sqrt")


def rsqrt(x: Lane) -> Lane:
    return 1 / sqrt(x)


# log2((1 + s)/(1 - s)) / s in s**2, to float32's needs
_POW_LOG32 = (2.8853900817778495, 0.9617966941140506, 0.5770779421700009, 0.4122092711544694, 0.31990495821867515,
              0.2829103318444328)  # fmt: skip
# the same less its first two terms, divided by s**4
_POW_LOG64 = (0.5770780163555851, 0.41219858311137036, 0.3205988979078554, 0.26230819917209114, 0.22195223979668863,
              0.19240236579968498, 0.16843243969725824, 0.1729620116871091)  # fmt: skip
# (2**r - 1) / r, to float32's needs
_POW_EXP32 = (0.6931471807050157, 0.24022651066676604, 0.05550410365551189, 0.009618038113186341,
              0.001333393456045625, 0.0001546676371859329, 1.5196405417012483e-05)  # fmt: skip


def _pow32(x: Lane, y: Lane) -> Lane:
    """x**y for positive finite float32 x, in float64."""
    k, m = _decompose(widen(x))
    s = (m - 1) / (m + 1)
    t = clamp(widen(y) * fma(s, polynomial(s * s, _POW_LOG32), k), -200.0, 200.0)
    n = _round(t)
    r = t - n
    return narrow(fma(r, polynomial(r, _POW_EXP32), 1.0) * _power_of_two(n))


def _log2_pair(x: Lane) -> tuple[Lane, Lane]:
    """log2(x) of a positive finite float64, to 63 bits, as an unevaluated sum."""
    c0, c1 = _TWO_LOG2_E, _TWO_THIRDS_LOG2_E
    k, m = _decompose(x)
    f, d = m - 1, m + 1
    s = f / d
    s_low = (fma(-s, d, f) - s * (m - (d - 1))) / d
    z, z_low = two_product(s, s)
    z_low = fma(s + s, s_low, z_low)
    a, a_low = two_product(z, c1[0])
    a_low = fma(z_low, c1[0], fma(z, c1[1], a_low))
    b, b_low = fast_two_sum(z.like(c0[0]), a)
    b_low = b_low + fma(z * z, polynomial(z, _POW_LOG64), a_low + c0[1])
    y, y_low = two_product(s, b)
    y_low = y_low + fma(s, b_low, s_low * b)
    total, rest = fast_two_sum(k, y)
    return fast_two_sum(total, rest + y_low)


def _pow64(x: Lane, y: Lane) -> Lane:
    """x**y for positive finite float64 x."""
    high, low = _log2_pair(x)
    t, t_low = two_product(y, high)
    t_low = fma(y, low, t_low)
    inside = fabs(t) < 1100
    t_low = select(inside, t_low, 0.0)
    t = clamp(t, -1100.0, 1100.0)
    n = _round(t)
    r, r_low = fast_two_sum(t - n, t_low)
    return _scale(1 + fma(r, polynomial(r, _EXP2[64]), r_low * _LN2[0]), n)


def pow(x: Lane, y: Lane) -> Lane:  # noqa: A001 - named as the function it implements
    """The power of |x|, then the special values of C99, annex F.9.4.4, general before particular."""
    size = fabs(x)
    result = (_pow32 if x.width == 32 else _pow64)(size, y)
    whole = rint(y).equals(y)
    half = y * 0.5
    odd = select(rint(half).equals(half), x.like(0.0).bits(), x.like(-0.0).bits())  # sign bit where y is not even
    towards_zero, towards_inf = (y > 0), (y < 0)
    at_zero = select(towards_zero, x.like(0.0), _INF)
    at_inf = select(towards_inf, x.like(0.0), _INF)
    result = select(size.equals(0.0), at_zero, result)
    result = select(size.equals(_INF), at_inf, result)
    result = select(fabs(y).equals(_INF), select(size > 1, at_inf, select(size < 1, at_zero, x.like(1.0))), result)
    finite_negative = select(x < 0, select(size < _INF, x.like(1.0), 0.0), 0.0)
    result = select(whole, (result.bits() ^ (x.bits() & odd)).real(), select(finite_negative > 0, _NAN, result))
    result = select(x.equals(x), select(y.equals(y), result, y), x)
    result = select(x.equals(1.0), 1.0, result)
    return select(y.equals(0.0), 1.0, result)


# --- Error function -------------------------------------------------------------------------------------------------

# erf(x)/x - 1 in x**2, on |x| <= 1
_ERF = {
    32: (0.12837917, -0.37612626, 0.112835854, -0.026853815, 0.0051883305, -0.00080102024, 7.85385e-05),
    64: (0.1283791670955126, -0.3761263890318375, 0.11283791670954858, -0.02686617064507296, 0.005223977624781369,
         -0.0008548326978765141, 0.00012055331037550857, -1.4925593518722827e-05, 1.6460972954074955e-06,
         -1.635002619130826e-07, 1.4657883526115805e-08, -1.1365670654457215e-09, 5.945255556575256e-11),
}  # fmt: skip
# log(1 - erf(x)) on [1, 4] and [1, 6]; beyond, erf(x) rounds to 1
_LOG_ERFC = {
    32: (0.00018803158, -1.1295784, -0.63321996, -0.1084185, 0.02520821, -0.0042045456, 0.00044133328, -2.16866e-05),
    64: (-1.84406185651474e-07, -1.1283772821735183, -0.636628704835284, -0.10274663924408847, 0.019076948343261717,
         0.00028223921530079384, -0.0017709373851136265, 0.0006428441192952609, -4.596304685248726e-05,
         -6.974661750794685e-05, 4.476827482853047e-05, -1.642091709209428e-05, 4.301624713501182e-06,
         -8.451592034677296e-07, 1.2482521475975702e-07, -1.3521528627644003e-08, 1.0169866066310826e-09,
         -4.751380102530127e-11, 1.0389672206759162e-12),
}  # fmt: skip
_ERF_ONE = {32: 4.0, 64: 6.0}


def erf(x: Lane) -> Lane:
    size = fabs(x)
    end = _ERF_ONE[x.width]
    p, n = _exp_parts(polynomial(select(size > end, end, size), _LOG_ERFC[x.width]))
    tail = 1 - (1 + p) * _power_of_two(n)
    return select(size < 1, fma(x, polynomial(x * x, _ERF[x.width]), x), copysign(tail, x))


# --- Circular functions ---------------------------------------------------------------------------------------------

# (sin(r) - r) / r**3 and (cos(r) - 1 + r**2/2) / r**4, both in r**2, on |r| <= pi/4; float32 is computed in float64
_SIN = {
    32: (-0.16666666641604738, 0.008333329382409422, -0.00019839333507526473, 2.7182975507622616e-06),
    64: (-0.16666666666666632, 0.008333333333322415, -0.00019841269829806864, 2.755731369078324e-06,
         -2.5050757828605582e-08, 1.5896773716621858e-10),
}  # fmt: skip
_COS = {
    32: (0.04166664685650848, -0.0013887366829595646, 2.4438348741106057e-05),
    64: (0.0416666666666666, -0.0013888888888874114, 2.4801587289474876e-05, -2.7557314349947896e-07,
         2.087572291767542e-09, -1.1359627995615067e-11),
}  # fmt: skip
_FIRST_EXPONENT = 28  # of the table below


@cache
def _two_over_pi_bits(bits: int) -> int:
    """floor(2/pi * 2**bits), by Machin's formula."""
    unit = 1 << (bits + 64)

    def arctan_of_reciprocal(n: int) -> int:
        term, total, k = unit // n, 0, 1
        while term:
            total += term // k if k % 4 == 1 else -(term // k)
            term //= n * n
            k += 2
        return total

    pi = 16 * arctan_of_reciprocal(5) - 4 * arctan_of_reciprocal(239)
    return (2 * unit << bits) // pi


@cache
def _reduction_table() -> list[float]:
    """Row e: 2**(e - 52) * 2/pi modulo 4, in [-2, 2], as a sum of four doubles."""
    bits = 1400
    digits = _two_over_pi_bits(bits)
    table = []
    for e in range(_FIRST_EXPONENT, 1024):
        rest = (digits << e) >> 52
        rest = (rest + (2 << bits)) % (4 << bits) - (2 << bits)
        for _ in range(4):
            part = rest / (1 << bits)
            table.append(part)
            top, bottom = part.as_integer_ratio()
            rest -= (top << bits) // bottom
    return table


def _table_row(row: Lane) -> list[Lane]:
    """Four entries of the reduction table."""
    builder = row.builder
    values = _reduction_table()
    table = builder.module.globals.get("graphexec_two_over_pi")
    if table is None:
        kind = ir.ArrayType(ir.DoubleType(), len(values))
        table = ir.GlobalVariable(builder.module, kind, "graphexec_two_over_pi")
        table.initializer, table.global_constant, table.linkage = ir.Constant(kind, values), True, "linkonce_odr"
    zero = ir.Constant(ir.IntType(64), 0)
    entries = [builder.gep(table, [zero, ((row << 2) + column).value], inbounds=True) for column in range(4)]
    return [Lane(builder, builder.load(entry)) for entry in entries]


def _reduce_far(x: Lane) -> tuple[Lane, Lane, Lane]:
    """`_reduce` for finite |x| >= 2**28, after Payne and Hanek.

    x = 2**(e - 52) * m with a whole number m, so m times the table's row e is the angle in quarter turns, less whole
    turns. A double can come within 2**-61 of a multiple of pi/2, so the sum is kept to 2**-120.
    """
    bits = x.bits()
    row = _table_row(((bits >> 52) & 0x7FF) - (1023 + _FIRST_EXPONENT))
    m = ((bits & ~(0x7FF << 52)) | (1075 << 52)).real()
    first, first_low = two_product(m, row[0])
    second, second_low = two_product(m, row[1])
    third, third_low = two_product(m, row[2])
    first = fma(rint(first * 0.25), -4.0, first)  # drops whole turns
    turn, low_1 = two_sum(first, first_low)
    turn, low_2 = two_sum(turn, second)
    n = rint(turn)
    low, low_3 = two_sum(second_low, third)
    low, low_4 = two_sum(low, low_2)
    low, low_5 = two_sum(low, low_1)
    r, r_low = two_sum(turn - n, low)
    r_low = r_low + (low_5 + low_4 + low_3 + fma(m, row[3], third_low))
    r, r_low = fast_two_sum(r, r_low)
    high, high_low = two_product(r, _HALF_PI[0])
    return n, high, fma(r, _HALF_PI[1], fma(r_low, _HALF_PI[0], high_low))


def _reduce(x: Lane) -> tuple[Lane, Lane, Lane]:
    """n, r and the rest of r: x = n * pi/2 + r, |r| <= pi/4, for |x| < 2**30, after Cody and Waite."""
    n = _round(x, 2 / _PI[0])
    r = fma(n, -_HALF_PI[0], x)  # exact
    product, product_low = two_product(n, _HALF_PI[1])
    r, r_low = two_sum(r, -product)
    return n, r, r_low - fma(n, _HALF_PI[2], product_low)


def _reduce_single(x: Lane) -> tuple[Lane, Lane]:
    """The same for a float32 widened to float64, which needs no rest."""
    n = _round(x, 2 / _PI[0])
    return n, fma(n, -_HALF_PI[1], fma(n, -_HALF_PI[0], x))


def _sin_cos_single(r: Lane) -> tuple[Lane, Lane]:
    """sin r and cos r on |r| <= pi/4, to float32's needs."""
    z = r * r
    return fma(r * z, polynomial(z, _SIN[32]), r), fma(z * z, polynomial(z, _COS[32]), fma(z, -0.5, 1.0))


def _sin_cos(r: Lane, r_low: Lane) -> tuple[Lane, Lane]:
    """sin and cos of r + r_low, |r| <= pi/4."""
    z = r * r
    half = 0.5 * z
    one = 1 - half
    sine = r + fma(r * z, polynomial(z, _SIN[64]), r_low * one)
    return sine, one + (((1 - one) - half) + fma(z * z, polynomial(z, _COS[64]), -(r * r_low)))


def _integer(n: Lane) -> Lane:
    """The integer, in the low bits of the lane."""
    return (n + _format(n).magic).bits()


def _signed(value: Lane, quadrant: Lane) -> Lane:
    """The value, negated in quadrants 2 and 3."""
    return (value.bits() ^ ((quadrant & 2) << 62)).real()


def _sin_of(sine: Lane, cosine: Lane, quadrant: Lane) -> Lane:
    return _signed(select((quadrant & 1).equals(0), sine, cosine), quadrant)


def _cos_of(sine: Lane, cosine: Lane, quadrant: Lane) -> Lane:
    return _signed(select((quadrant & 1).equals(0), cosine, sine), quadrant + 1)


def _tan_of(sine: Lane, cosine: Lane, quadrant: Lane) -> Lane:
    even = (quadrant & 1).equals(0)
    return select(even, sine, -cosine) / select(even, cosine, sine)


_Of = Callable[[Lane, Lane, Lane], Lane]


def _far(x: Lane, of: _Of) -> Lane:
    """The function of finite |x| >= 2**28."""
    n, r, r_low = _reduce_far(widen(x) if x.width == 32 else x)
    result = of(*_sin_cos(r, r_low), _integer(n))
    return narrow(result) if x.width == 32 else result


def _near(x: Lane, of: _Of) -> Lane:
    """The function of |x| < 2**30; NaN for infinities."""
    if x.width == 32:
        n, r = _reduce_single(widen(x))
        return narrow(of(*_sin_cos_single(r), _integer(n)))
    n, r, r_low = _reduce(x)
    return of(*_sin_cos(r, r_low), _integer(n))


def _circular(x: Lane, of: _Of) -> Lane:
    """Near and far joined by a call that loops over vectors too: it returns at once unless a lane is far.

    To compute both and select would double the time of ordinary angles, and loads from a table at an index of its own
    for every lane keep LLVM from vectorising at all.
    """
    near = _near(x, of)
    return Lane(x.builder, x.builder.call(_far_function(x.builder.module, x.type, of), [x.value, near.value]))


def _far_function(module: Any, kind: Any, of: _Of) -> Any:
    """LLVM function (x, near): near, or the function of a far x; with variants for vectors of 2, 4, 8 and 16."""
    width = 32 if isinstance(kind, ir.FloatType) else 64
    name = f"graphexec{of.__name__}_far{width}"
    if name in module.globals:
        return module.globals[name]
    scalar = _define(module, name, kind)
    variants = [_define(module, f"{name}_x{lanes}", ir.VectorType(kind, lanes)) for lanes in (2, 4, 8, 16)]
    mapping = ",".join(f"_ZGV_LLVM_N{v.args[0].type.count}vv_{name}({v.name})" for v in variants)
    set.add(scalar.attributes, f'"vector-function-abi-variant"="{mapping}"')  # llvmlite knows no string attributes
    used = ir.GlobalVariable(module, ir.ArrayType(ir.PointerType(), len(variants)), "llvm.compiler.used")
    used.initializer = ir.Constant(used.value_type, [v.bitcast(ir.PointerType()) for v in variants])
    used.linkage, used.section = "appending", "llvm.metadata"
    _fill(scalar, lambda builder, x, _: _far(Lane(builder, x), of).value)
    for variant in variants:
        _fill(variant, lambda builder, x, near: _lane_by_lane(builder, scalar, x, near))
    return scalar


def _define(module: Any, name: str, kind: Any) -> Any:
    function = ir.Function(module, ir.FunctionType(kind, [kind, kind]), name)
    function.linkage = "linkonce_odr"
    for attribute in ("noinline", "nounwind", "readnone"):
        function.attributes.add(attribute)
    return function


def _lane_by_lane(builder: Any, scalar: Any, x: Any, near: Any) -> Any:
    for lane in range(x.type.count):
        index = ir.Constant(ir.IntType(32), lane)
        args = [builder.extract_element(vector, index) for vector in (x, near)]
        near = builder.insert_element(near, builder.call(scalar, args), index)
    return near


def _fill(function: Any, far: Callable[[Any, Any, Any], Any]) -> None:
    """The body: near unless some lane has 2**28 <= |x| < inf."""
    builder = ir.IRBuilder(function.append_basic_block())
    x, near = function.args
    size = _vector_call(builder, "llvm.fabs", x.type, x)
    bounds = [ir.Constant(x.type, [b] * x.type.count if isinstance(x.type, ir.VectorType) else b) for b in (2.0**28, _INF)]
    any_far = builder.and_(builder.fcmp_ordered(">=", size, bounds[0]), builder.fcmp_ordered("<", size, bounds[1]))
    if isinstance(x.type, ir.VectorType):
        any_far = _vector_call(builder, "llvm.vector.reduce.or", ir.IntType(1), any_far)
    with builder.if_then(any_far, likely=False):
        builder.ret(far(builder, x, near))
    builder.ret(near)


def _vector_call(builder: Any, name: str, returns: Any, x: Any) -> Any:
    """Call of an LLVM intrinsic overloaded on a vector type, which llvmlite cannot spell."""
    lanes = f"v{x.type.count}" if isinstance(x.type, ir.VectorType) else ""
    element = x.type.element if lanes else x.type
    full = f"{name}.{lanes}{'i1' if isinstance(element, ir.IntType) else element.intrinsic_name}"
    function = builder.module.globals.get(full) or ir.Function(builder.module, ir.FunctionType(returns, [x.type]), full)
    return builder.call(function, [x])


def _finish(x: Lane, result: Lane) -> Lane:
    """x itself where the function is x to the last place, which keeps -0 and subnormals."""
    return select(fabs(x) < 2.0**-28, x, result)


def sin(x: Lane) -> Lane:
    return _finish(x, _circular(x, _sin_of))


def cos(x: Lane) -> Lane:
    return _circular(x, _cos_of)


def tan(x: Lane) -> Lane:
    return _finish(x, _circular(x, _tan_of))


# (atan(t) - t) / t**3 in t**2, on |t| <= tan(pi/8)
_ATAN = {
    32: (-0.33333316, 0.1999849, -0.14243838, 0.105958775, -0.060830466),
    64: (-0.33333333333333326, 0.1999999999999769, -0.14285714285390505, 0.11111111088333439, -0.09090908150145373,
         0.07692282885714309, -0.06666228634529568, 0.058770401909838746, -0.05218522869487678, 0.04504031563029979,
         -0.03348569095414763, 0.015206573155463284),
}  # fmt: skip
# (asin(t) - t) / t**3 in t**2, on |t| <= 1/2
_ASIN = {
    32: (0.1666666, 0.075005114, 0.044515572, 0.03181908, 0.014396181, 0.037575364),
    64: (0.16666666666666763, 0.0749999999997009, 0.04464285717529206, 0.030381942675032768, 0.02237221591195868,
         0.017351595405244325, 0.013981019524641059, 0.011397286031177102, 0.010789355166667408, 0.0036720742568167575,
         0.021790878928064097, -0.02111699981456148, 0.03270231096547538),
}  # fmt: skip


def atan(x: Lane) -> Lane:
    quarter, half = _split(_PI, x.width, 0.25), _split(_PI, x.width, 0.5)
    size = fabs(x)
    high, middle = size > 2.414213562373095, size > 0.4142135623730950
    t = select(high, -1.0, select(middle, size - 1, size)) / select(high, size, select(middle, size + 1, 1.0))
    base = select(high, half[0], select(middle, size.like(quarter[0]), 0.0))
    rest = select(high, half[1], select(middle, size.like(quarter[1]), 0.0))
    z = t * t
    return copysign(base + (t + fma(t * z, polynomial(z, _ATAN[x.width]), rest)), x)


def _asin_parts(x: Lane) -> tuple[Lane, Lane, Lane]:
    """Whether |x| >= 1/2, and then s = sqrt((1 - |x|)/2), else |x|; and asin(s) - s."""
    size = fabs(x)
    large = size >= 0.5
    half = 0.5 * (1 - size)
    z = select(large, half, size * size)
    s = select(large, sqrt(half), size)
    return large, s, s * z * polynomial(z, _ASIN[x.width])


def asin(x: Lane) -> Lane:
    high, low = _split(_PI, x.width, 0.5)
    large, s, rest = _asin_parts(x)
    return copysign(select(large, high - (2 * s + (2 * rest - low)), s + rest), x)


def acos(x: Lane) -> Lane:
    half, whole = _split(_PI, x.width, 0.5), _split(_PI, x.width)
    large, s, rest = _asin_parts(x)
    near_one = 2 * (s + rest)
    near_minus_one = whole[0] - (2 * s + (2 * rest - whole[1]))
    s, rest = copysign(s, x), copysign(rest, x)
    return select(large, select(x < 0, near_minus_one, near_one), half[0] - (s + (rest - half[1])))


# --- Numba ----------------------------------------------------------------------------------------------------------

_NAMES = (
    "acos", "asin", "atan", "cos", "cosh", "erf", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "rsqrt",
    "sigmoid", "sin", "sinh", "softplus", "sqrt", "tan", "tanh",
)  # fmt: skip
# Each function is compiled apart from its caller, so the caller's fast-math flags do not reach it, and always inlined.
_JIT = {"error_model": "numpy", "fastmath": False, "forceinline": True}


def _common_type(*kinds: Any) -> Any:
    """float32 if every argument is, float64 for other real numbers, None for what is no real number."""
    if not all(isinstance(kind, types.Integer | types.Boolean) or kind in (types.float32, types.float64) for kind in kinds):
        return None
    return types.float32 if all(kind == types.float32 for kind in kinds) else types.float64


def _emitter(emit: Callable[..., Lane]) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit(*(Lane(builder, arg) for arg in args)).value

    return codegen


def _overload_one(function: Any, emit: Callable[..., Lane]) -> None:
    @intrinsic
    def emitted(typing: Any, x: Any) -> Any:
        return x(x), _emitter(emit)

    @overload(function, jit_options=_JIT)
    def choose(x):  # type: ignore[no-untyped-def] # Numba compares parameters, annotations included
        kind = _common_type(x)
        return None if kind is None else lambda x: emitted(kind(x))


def _overload_two(function: Any, emit: Callable[..., Lane]) -> None:
    @intrinsic
    def emitted(typing: Any, x: Any, y: Any) -> Any:
        return x(x, y), _emitter(emit)

    @overload(function, jit_options=_JIT)
    def choose(x, y):  # type: ignore[no-untyped-def]
        kind = _common_type(x, y)
        return None if kind is None else lambda x, y: emitted(kind(x), kind(y))


@cache
def register() -> None:
    """Make compiled code use this module wherever it calls `graphexec.math`. Calling it again changes nothing."""
    for name in _NAMES:
        _overload_one(getattr(public, name), globals()[name])
    _overload_two(public.pow, pow)
