"""logarithm: log, log2, log10, log1p, softplus, sqrt, rsqrt, pow.

x = 2**k * m with m next to 1, and log m = 2 artanh(s) with s = (m - 1)/(m + 1), as FreeBSD's msun does.
"""

from __future__ import annotations

from graphexec.vecmath.exponential import EXP2, exp_negative, power_of_two, round_to_exponent, scale
from graphexec.vecmath.scalar import (
    INF,
    LN2,
    LOG2_E,
    LOG10_2,
    LOG10_E,
    NAN,
    TWO_LOG2_E,
    TWO_THIRDS_LOG2_E,
    Pair,
    Scalar,
    clamp,
    copysign,
    fabs,
    fast_two_sum,
    fma,
    format_of,
    narrow,
    polynomial,
    rint,
    select,
    split,
    sqrt,
    two_product,
    two_sum,
    widen,
)

# (log((1 + s)/(1 - s)) - 2 s) / s**3 in s**2, for (1 + s)/(1 - s) in [1/sqrt(2), sqrt(2)]
_LOG = {
    32: (0.6666666, 0.40000334, 0.28537303, 0.23582299),
    64: (0.6666666666666734, 0.3999999999941552, 0.28571428742217064, 0.22222198588204356, 0.18183563693916482,
         0.15314062801547973, 0.14795865532902785),
}  # fmt: skip


_SQRT_HALF = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}  # bit patterns of 1/sqrt(2)


def _decompose(x: Scalar) -> tuple[Scalar, Scalar]:
    """k and m of x = 2**k * m, m in [1/sqrt(2), sqrt(2)), for positive finite x."""
    f = format_of(x)
    subnormal = x < f.smallest
    lift = f.digits + 2
    x = select(subnormal, x * 2.0**lift, x)
    unit = f.bias << f.digits
    shifted = x.bits() + (unit - _SQRT_HALF[x.width])
    exponent = ((shifted >> f.digits) | ((f.bias + f.digits) << f.digits)).real()  # 2**digits + biased exponent
    k = exponent - select(subnormal, x.like(2.0**f.digits + f.bias + lift), 2.0**f.digits + f.bias)
    return k, ((shifted & ((1 << f.digits) - 1)) + _SQRT_HALF[x.width]).real()


def _log_parts(f: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """a, s, b of log(1 + f) = f - a + s * b: a = f**2 / 2 and the rest of the series."""
    s = f / (2 + f)
    z = s * s
    a = 0.5 * f * f
    return a, s, a + z * polynomial(z, _LOG[f.width])


def _log_ends(x: Scalar, result: Scalar) -> Scalar:
    """Sets the special values of a logarithm: -inf at 0, NaN below, inf at inf."""
    result = select(x < INF, result, x)
    return select(x > 0, result, select(x.equals(0.0), x.like(-INF), NAN))


def log(x: Scalar) -> Scalar:
    ln2 = split(LN2, x.width)
    k, m = _decompose(x)
    f = m - 1
    a, s, b = _log_parts(f)
    return _log_ends(x, fma(k, ln2[0], f - (a - fma(s, b, k * ln2[1]))))


def _log_based(x: Scalar, log_e: Pair, log_2: Pair) -> Scalar:
    """log(x) * log_e = k * log_2 + log(m) * log_e, with the rounding errors of the products."""
    log_e, log_2 = split(log_e, x.width), split(log_2, x.width)
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


def log2(x: Scalar) -> Scalar:
    return _log_based(x, LOG2_E, (1.0, 0.0))


def log10(x: Scalar) -> Scalar:
    return _log_based(x, LOG10_E, LOG10_2)


def log1p(x: Scalar) -> Scalar:
    """k log 2 + log m of 1 + x = 2**k * m; the error of 1 + x, divided by the sum, is added."""
    ln2 = split(LN2, x.width)
    u, c = two_sum(x.like(1.0), x)
    k, m = _decompose(u)
    near = k.equals(0.0)
    f = select(near, x, m - 1)
    c = select(near, 0.0, c / u)
    a, s, b = _log_parts(f)
    finite = fma(k, ln2[0], f - (a - fma(s, b, fma(k, ln2[1], c))))
    result = select(x < INF, copysign(finite, x), x)
    return select(x > -1, result, select(x.equals(-1.0), x.like(-INF), NAN))


# (log((1 + s)/(1 - s)) - 2 s) / s**3 in s**2, for (1 + s)/(1 - s) in [1, 2]
_LOG1P = {
    32: (0.66666675, 0.39998949, 0.28615212, 0.21443887, 0.2424525),
    64: (0.6666666666666633, 0.40000000000149943, 0.28571428548615835, 0.22222223928912155, 0.1818174519837352,
         0.1538653545060675, 0.13301267577825934, 0.12103933534149802, 0.08348892455991394, 0.17003228270626783),
}  # fmt: skip


def softplus(x: Scalar) -> Scalar:
    """max(x, 0) + log(1 + e), e = e**-|x|; log(1 + e) = e - s * (e - the series) with s = e / (2 + e)."""
    e = exp_negative(-fabs(x))
    s = e / (2 + e)
    z = s * s
    return select(x < 0, 0.0, x) + fma(-s, fma(-z, polynomial(z, _LOG1P[x.width]), e), e)


def rsqrt(x: Scalar) -> Scalar:
    return 1 / sqrt(x)


# log2((1 + s)/(1 - s)) / s in s**2, accurate enough for float32
_POW_LOG32 = (2.8853900817778495, 0.9617966941140506, 0.5770779421700009, 0.4122092711544694, 0.31990495821867515,
              0.2829103318444328)  # fmt: skip
# the same without its first two terms, divided by s**4
_POW_LOG64 = (0.5770780163555851, 0.41219858311137036, 0.3205988979078554, 0.26230819917209114, 0.22195223979668863,
              0.19240236579968498, 0.16843243969725824, 0.1729620116871091)  # fmt: skip
# (2**r - 1) / r, accurate enough for float32
_POW_EXP32 = (0.6931471807050157, 0.24022651066676604, 0.05550410365551189, 0.009618038113186341,
              0.001333393456045625, 0.0001546676371859329, 1.5196405417012483e-05)  # fmt: skip


def _pow32(x: Scalar, y: Scalar) -> Scalar:
    """x**y for positive finite float32 x, in float64."""
    k, m = _decompose(widen(x))
    s = (m - 1) / (m + 1)
    t = clamp(widen(y) * fma(s, polynomial(s * s, _POW_LOG32), k), -200.0, 200.0)
    n, exponent = round_to_exponent(t)
    r = t - n
    return narrow(fma(r, polynomial(r, _POW_EXP32), 1.0) * power_of_two(exponent))


def _log2_pair(x: Scalar) -> tuple[Scalar, Scalar]:
    """log2(x) of a positive finite float64, to 63 bits, as an unevaluated sum."""
    c0, c1 = TWO_LOG2_E, TWO_THIRDS_LOG2_E
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


def _pow64(x: Scalar, y: Scalar) -> Scalar:
    """x**y for positive finite float64 x."""
    high, low = _log2_pair(x)
    t, t_low = two_product(y, high)
    t_low = fma(y, low, t_low)
    inside = fabs(t) < 1100
    t_low = select(inside, t_low, 0.0)
    t = clamp(t, -1100.0, 1100.0)
    n, exponent = round_to_exponent(t)
    r, r_low = fast_two_sum(t - n, t_low)
    return scale(1 + fma(r, polynomial(r, EXP2[64]), r_low * LN2[0]), exponent)


def pow(x: Scalar, y: Scalar) -> Scalar:  # noqa: A001 - named as the function it implements
    """The power of |x|, then the special values of C99, annex F.9.4.4; a later rule overrides an earlier one."""
    size = fabs(x)
    result = (_pow32 if x.width == 32 else _pow64)(size, y)
    whole = rint(y).equals(y)
    half = y * 0.5
    odd = select(rint(half).equals(half), x.like(0.0).bits(), x.like(-0.0).bits())  # sign bit where y is not even
    towards_zero, towards_inf = (y > 0), (y < 0)
    at_zero = select(towards_zero, x.like(0.0), INF)
    at_inf = select(towards_inf, x.like(0.0), INF)
    result = select(size.equals(0.0), at_zero, result)
    result = select(size.equals(INF), at_inf, result)
    result = select(fabs(y).equals(INF), select(size > 1, at_inf, select(size < 1, at_zero, x.like(1.0))), result)
    finite_negative = select(x < 0, select(size < INF, x.like(1.0), 0.0), 0.0)
    result = select(whole, (result.bits() ^ (x.bits() & odd)).real(), select(finite_negative > 0, NAN, result))
    result = select(x.equals(x), select(y.equals(y), result, y), x)
    result = select(x.equals(1.0), 1.0, result)
    return select(y.equals(0.0), 1.0, result)
