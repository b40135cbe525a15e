"""exponential: exp, exp2, expm1, tanh, sigmoid, sinh, cosh and the error function.

e**x = 2**n * e**r after Cody and Waite, with r = x - n ln 2 and a polynomial for e**r.
"""

from __future__ import annotations

from graphexec.vecmath.scalar import (
    LN2,
    LOG2_E,
    Scalar,
    clamp,
    copysign,
    divide,
    fabs,
    fma,
    format_of,
    polynomial,
    select,
    split,
    with_sign,
)

# (e**r - 1 - r) / r**2 on |r| <= ln(2)/2
_EXP = {
    32: (0.5, 0.16666543, 0.04166628, 0.00836661, 0.0013946455),
    64: (0.5, 0.16666666666666677, 0.0416666666666667, 0.008333333333321579, 0.0013888888888866837,
         0.00019841269886265394, 2.480158736058281e-05, 2.7557244062532272e-06, 2.7557242717091546e-07,
         2.5109090257461788e-08, 2.0924461765268614e-09),
}  # fmt: skip
# (2**r - 1) / r on |r| <= 1/2
EXP2 = {
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


def round_to_exponent(x: Scalar, factor: float = 1.0) -> tuple[Scalar, Scalar]:
    """n = the integer nearest to x * factor, |n| well below 2**digits; and its exponent.

    The exponent of n is an integer whose low bits hold n + 2 * bias, the form that the powers of two below take.
    """
    f = format_of(x)
    magic = f.magic + 2 * f.bias
    total = x + magic if factor == 1 else fma(x, factor, magic)
    return total - magic, total.bits()


def round_to_power(x: Scalar, factor: float, shift: int = 0) -> tuple[Scalar, Scalar]:
    """n = the integer nearest to x * factor, and 2**(n + shift), a normal power."""
    f = format_of(x)
    magic = f.magic + f.bias + shift
    total = fma(x, factor, magic)
    return total - magic, (total.bits() << f.digits).real()


def power_of_two(exponent: Scalar) -> Scalar:
    """2**n, for n a normal power."""
    f = format_of(exponent)
    return ((exponent - f.bias) << f.digits).real()


def _scales(exponent: Scalar) -> tuple[Scalar, Scalar]:
    """Two factors of 2**n, which itself may be subnormal or infinite."""
    digits = format_of(exponent).digits
    half = exponent >> 1
    return (half << digits).real(), ((exponent - half) << digits).real()


def scale(m: Scalar, exponent: Scalar) -> Scalar:
    """m * 2**n, rounded once."""
    first, second = _scales(exponent)
    return m * first * second


def _less_one(r: Scalar) -> Scalar:
    """e**r - 1 for |r| <= ln(2)/2."""
    return fma(polynomial(r, _EXP[r.width]), r * r, r)


def _exp_inside(x: Scalar, halvings: int = 0) -> Scalar:
    """e**x * 2**-halvings for x in the range of exp."""
    ln2 = split(LN2, x.width)
    n, exponent = round_to_exponent(x, LOG2_E[0])
    first, second = _scales(exponent - halvings)
    w = _less_one(fma(n, -ln2[1], fma(n, -ln2[0], x)))
    return fma(w, first, first) * second


def exp(x: Scalar) -> Scalar:
    return _exp_inside(clamp(x, *format_of(x).exp_range))


def exp_negative(x: Scalar) -> Scalar:
    """e**x for x <= 0, which cannot overflow."""
    low = format_of(x).exp_range[0]
    return _exp_inside(select(x < low, low, x))


def exp2(x: Scalar) -> Scalar:
    x = clamp(x, *format_of(x).exp2_range)
    n, exponent = round_to_exponent(x)
    r = x - n
    return scale(fma(r, polynomial(r, EXP2[x.width]), 1.0), exponent)


def expm1(x: Scalar) -> Scalar:
    """2**n * (1 + r + rest) - 1, computed as half of it until the end, because 2**n alone may overflow."""
    ln2 = split(LN2, x.width)
    clamped = clamp(x, *format_of(x).expm1_range)
    n, half = round_to_power(clamped, LOG2_E[0], -1)
    r = fma(n, -ln2[1], fma(n, -ln2[0], clamped))
    rest = r * r * polynomial(r, _EXP[x.width])
    return with_sign(2 * fma(rest, half, fma(r, half, half - 0.5)), x)


def _decay_rest(x: Scalar, n: Scalar) -> Scalar:
    """w of e**-x = 2**n * (1 + w), for 0 <= x <= 40."""
    ln2 = split(LN2, x.width)
    r = fma(n, ln2[0], x)
    if x.width == 64:  # ln 2 is so close to a float32 that the remainder does not matter there
        r = fma(n, ln2[1], r)
    return _less_one(-r)


def tanh(x: Scalar) -> Scalar:
    """(1 - e) / (1 + e), e = e**-2|x| = 2**n * (1 + w): 1 - 2**n is exact, and near 0, where n = 0, it is 0.

    The roundings of both sums and of the quotient add up to 1.94 ulp for |x| near 0.52. So float32 stays within 2 ulp, as a test of
    all its numbers confirms. In float64 the division takes the errors of the sums into account.
    """
    size = fabs(x)
    size = select(size > 20, 20.0, size)
    n, power = round_to_power(size, -2 * LOG2_E[0])
    w = _decay_rest(size + size, n)
    difference, total = 1 - power, 1 + power
    a, b = fma(-w, power, difference), fma(w, power, total)
    if x.width == 32:
        return with_sign(a / b, x)
    return with_sign(divide(a, fma(-w, power, difference - a), b, fma(w, power, total - b)), x)


def sigmoid(x: Scalar) -> Scalar:
    """1 / (1 + e), e = e**-x = 2**n * (1 + w), with numerator and denominator scaled by 2**-shift so that e cannot overflow.

    The error of 1 + 2**n is compensated: it can be half a unit in the last place, and the next sum can add as much.
    """
    f = format_of(x)
    shift = f.digits + 1
    ln2 = split(LN2, x.width)
    x = clamp(x, *f.sigmoid_range)
    n, power = round_to_power(x, -LOG2_E[0], -shift)
    w = _less_one(-fma(n, ln2[1], fma(n, ln2[0], x)))
    one = 2.0**-shift
    total = power + one
    return one / (fma(w, power, one - (total - power)) + total)


def _half_exp(x: Scalar) -> Scalar:
    """e**x / 2 for x >= 0; overflows only if the result does."""
    high = format_of(x).exp_range[1]
    return _exp_inside(select(x > high, high, x), 1)


def sinh(x: Scalar) -> Scalar:
    size = fabs(x)
    h = _half_exp(size)
    z = x * x
    return select(size < 1, fma(x * z, polynomial(z, _SINH[x.width]), x), copysign(h - 0.25 / h, x))


def cosh(x: Scalar) -> Scalar:
    h = _half_exp(fabs(x))
    return h + 0.25 / h


# (-log(1 - erf(x)) - x) / x on [0, 4] and [0, 6]; beyond, erf(x) rounds to 1
_LOG_ERFC = {
    32: (0.12837917, 0.63661957, 0.102776304, -0.019147826, -0.00016948384, 0.0016756365, -0.00063733076, 0.00011885132,
         -9.3873905e-06),
    64: (0.12837916709551256, 0.6366197723675836, 0.10277260330179075, -0.01912844700511894, -0.00020919469421343002,
         0.0016962063807844207, -0.0005901255269179302, 2.5878508609715513e-05, 6.449211886288955e-05,
         -2.9724570708598908e-05, 3.4080866928380303e-06, 2.8341347608718184e-06, -1.7405738553903721e-06,
         3.3561333882682455e-07, 1.3764622915526103e-07, -1.4199184346727775e-07, 6.582467255383535e-08,
         -2.0991472185180736e-08, 5.004897175814979e-09, -9.096194963741782e-10, 1.2504723455493153e-10,
         -1.2633332640101941e-11, 8.862268463461401e-13, -3.858210890970377e-14, 7.850575919002475e-16),
}  # fmt: skip
_ERF_ONE = {32: 4.0, 64: 6.0}


def erf(x: Scalar) -> Scalar:
    """1 - e, e = e**-d = 2**n * (1 + w) with d = -log(1 - erf |x|), which is close to |x|."""
    size = fabs(x)
    end = _ERF_ONE[x.width]
    size = select(size > end, end, size)
    d = fma(size, polynomial(size, _LOG_ERFC[x.width]), size)
    n, power = round_to_power(d, -LOG2_E[0])
    return with_sign(fma(-_decay_rest(d, n), power, 1 - power), x)
