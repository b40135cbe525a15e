"""Exponentials as lanes: exp, exp2, expm1, tanh, sigmoid, sinh, cosh and the error function.

e**x = 2**n * e**r after Cody and Waite, with r = x - n ln 2 and a polynomial for e**r.
"""

from __future__ import annotations

from graphexec.native.vector_lane import (
    LN2,
    LOG2_E,
    Lane,
    clamp,
    copysign,
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


def round_to_exponent(x: Lane, factor: float = 1.0) -> tuple[Lane, Lane]:
    """n = the integer nearest to x * factor, |n| well below 2**digits; and its exponent.

    The exponent of n is an integer lane whose low bits hold n + 2 * bias, which is what the powers of two below want.
    """
    f = format_of(x)
    magic = f.magic + 2 * f.bias
    total = x + magic if factor == 1 else fma(x, factor, magic)
    return total - magic, total.bits()


def round_to_power(x: Lane, factor: float, shift: int = 0) -> tuple[Lane, Lane]:
    """n = the integer nearest to x * factor, and 2**(n + shift), a normal power."""
    f = format_of(x)
    magic = f.magic + f.bias + shift
    total = fma(x, factor, magic)
    return total - magic, (total.bits() << f.digits).real()


def power_of_two(exponent: Lane) -> Lane:
    """2**n, for n a normal power."""
    f = format_of(exponent)
    return ((exponent - f.bias) << f.digits).real()


def _scales(exponent: Lane) -> tuple[Lane, Lane]:
    """Two factors of 2**n, which itself may be subnormal or infinite."""
    digits = format_of(exponent).digits
    half = exponent >> 1
    return (half << digits).real(), ((exponent - half) << digits).real()


def scale(m: Lane, exponent: Lane) -> Lane:
    """m * 2**n, rounded once."""
    first, second = _scales(exponent)
    return m * first * second


def exp_mantissa(x: Lane) -> tuple[Lane, Lane]:
    """1 + r + w and the exponent of n, cheaper."""
    ln2 = split(LN2, x.width)
    n, exponent = round_to_exponent(x, LOG2_E[0])
    r = fma(n, -ln2[1], fma(n, -ln2[0], x))
    return 1 + fma(polynomial(r, _EXP[x.width]), r * r, r), exponent


def exp(x: Lane) -> Lane:
    ln2 = split(LN2, x.width)
    x = clamp(x, *format_of(x).exp_range)
    n, exponent = round_to_exponent(x, LOG2_E[0])
    first, second = _scales(exponent)
    return fma(_less_one(fma(n, -ln2[1], fma(n, -ln2[0], x))), first, first) * second


def exp2(x: Lane) -> Lane:
    x = clamp(x, *format_of(x).exp2_range)
    n, exponent = round_to_exponent(x)
    r = x - n
    return scale(fma(r, polynomial(r, EXP2[x.width]), 1.0), exponent)


def _less_one(r: Lane) -> Lane:
    """e**r - 1 for |r| <= ln(2)/2."""
    return fma(polynomial(r, _EXP[r.width]), r * r, r)


def expm1(x: Lane) -> Lane:
    """2**n * (1 + w) - 1, all of it halved until the end: 2**n alone may overflow."""
    ln2 = split(LN2, x.width)
    clamped = clamp(x, *format_of(x).expm1_range)
    n, half = round_to_power(clamped, LOG2_E[0], -1)
    w = _less_one(fma(n, -ln2[1], fma(n, -ln2[0], clamped)))
    return with_sign(2 * fma(w, half, half - 0.5), x)


def tanh(x: Lane) -> Lane:
    """(1 - e) / (1 + e), e = e**-2|x| = 2**n * (1 + w): 1 - 2**n is exact, and w is all that is left of it next to 0."""
    size = fabs(x)
    size = select(size > 20, 20.0, size)
    ln2 = split(LN2, x.width)
    n, power = round_to_power(size, -2 * LOG2_E[0])
    r = fma(n, ln2[0], size + size)
    if x.width == 64:  # float32's ln 2 is so near that n = 58 of it do not show
        r = fma(n, ln2[1], r)
    w = _less_one(-r)
    return with_sign(fma(-w, power, 1 - power) / fma(w, power, 1 + power), x)


def sigmoid(x: Lane) -> Lane:
    """1 / (1 + e), e = e**-x = 2**n * (1 + w), above and below the line times 2**-shift, so that no e overflows.

    1 + 2**n is exact, or the 1 too small to matter, but for n = shift, where the 1 is half a unit and gets lost; there 
    the numerator makes up for it.
    """
    f = format_of(x)
    shift = f.digits + 1
    ln2 = split(LN2, x.width)
    x = clamp(x, *f.sigmoid_range)
    n, power = round_to_power(x, -LOG2_E[0], -shift)
    w = _less_one(-fma(n, ln2[1], fma(n, ln2[0], x)))
    one = 2.0**-shift
    return select(power.equals(1.0), x.like(one - one * one), one) / fma(w, power, power + one)


def _half_exp(x: Lane) -> Lane:
    """e**x / 2 for x >= 0; overflows only where it must."""
    high = format_of(x).exp_range[1]
    m, exponent = exp_mantissa(select(x > high, high, x))
    return scale(m, exponent - 1)


def sinh(x: Lane) -> Lane:
    size = fabs(x)
    h = _half_exp(size)
    z = x * x
    return select(size < 1, fma(x * z, polynomial(z, _SINH[x.width]), x), copysign(h - 0.25 / h, x))


def cosh(x: Lane) -> Lane:
    h = _half_exp(fabs(x))
    return h + 0.25 / h


def exp_negative(x: Lane) -> Lane:
    """e**x for x <= 0, which cannot overflow."""
    low = format_of(x).exp_range[0]
    return scale(*exp_mantissa(select(x < low, low, x)))


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
    m, exponent = exp_mantissa(polynomial(select(size > end, end, size), _LOG_ERFC[x.width]))
    tail = fma(-m, power_of_two(exponent), 1.0)
    return select(size < 1, fma(x, polynomial(x * x, _ERF[x.width]), x), copysign(tail, x))
