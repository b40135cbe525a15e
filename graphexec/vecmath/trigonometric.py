"""trigonometric: sin, cos and tan, accurate for every finite angle; asin, acos and atan."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from llvmlite import ir

from graphexec.vecmath.exponential import round_to_exponent
from graphexec.vecmath.scalar import (
    HALF_PI,
    PI,
    Scalar,
    copysign,
    divide,
    fabs,
    fast_two_sum,
    fma,
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
from graphexec.vecmath.slow_path import replace_rare

# (sin(r) - r) / r**3 and (cos(r) - 1 + r**2/2) / r**4, both in r**2, on |r| <= pi/4
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


def _table_row(row: Scalar) -> list[Scalar]:
    """Four entries of the reduction table."""
    builder = row.builder
    values = _reduction_table()
    table = builder.module.globals.get("graphexec_shared_two_over_pi")
    if table is None:
        kind = ir.ArrayType(ir.DoubleType(), len(values))
        table = ir.GlobalVariable(builder.module, kind, "graphexec_shared_two_over_pi")
        table.initializer, table.global_constant, table.linkage = ir.Constant(kind, values), True, "linkonce_odr"
    zero = ir.Constant(ir.IntType(64), 0)
    entries = [builder.gep(table, [zero, ((row << 2) + column).value], inbounds=True) for column in range(4)]
    return [Scalar(builder, builder.load(entry)) for entry in entries]


def _reduce_far(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """`_reduce` for finite |x| >= 2**28, after Payne and Hanek.

    x = 2**(e - 52) * m with an integer m, so m times the table's row e is the angle in quarter turns without its whole
    turns. A double can come within 2**-61 of a multiple of pi/2, so the sum is accurate to 2**-120.
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
    high, high_low = two_product(r, HALF_PI[0])
    return round_to_exponent(n)[1], high, fma(r, HALF_PI[1], fma(r_low, HALF_PI[0], high_low))


def _reduce(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """n, r and the remainder of r: x = n * pi/2 + r, |r| <= pi/4, for |x| < 2**30, after Cody and Waite.

    Only the two low bits of the integer n matter. (`round_to_exponent` adds 2 * bias, which is 2 modulo 4.)
    """
    n, quadrant = round_to_exponent(x, 2 / PI[0])
    r = fma(n, -HALF_PI[0], x)  # exact
    product, product_low = two_product(n, HALF_PI[1])
    r, r_low = two_sum(r, -product)
    return quadrant, r, r_low - fma(n, HALF_PI[2], product_low)


def _reduce_single(x: Scalar) -> tuple[Scalar, Scalar]:
    """Like `_reduce` for a float32 widened to float64, which needs no remainder."""
    n, quadrant = round_to_exponent(x, 2 / PI[0])
    return quadrant, fma(n, -HALF_PI[1], fma(n, -HALF_PI[0], x))


Sum = tuple[Scalar, "Scalar | None"]  # an unevaluated sum; a float32 computed in float64 needs no second term


_HIGH, _MIDDLE = split(HALF_PI[:2], 32)
_HALF_PI_SINGLE = (_HIGH, _MIDDLE, HALF_PI[0] - _HIGH - _MIDDLE + HALF_PI[1])


def _reduce_in_single(x: Scalar) -> tuple[Scalar, Scalar]:
    """Like `_reduce` for a float32 in float32, |x| < 2**17: the first step is exact, each other step rounds once."""
    r, (n, quadrant) = x, round_to_exponent(x, 2 / PI[0])
    for part in _HALF_PI_SINGLE:
        r = fma(n, -part, r)
    return quadrant, r


def _sin_cos_single(r: Scalar) -> tuple[Sum, Sum]:
    """sin r and cos r on |r| <= pi/4, accurate enough for float32: in float32, or in float64 if further operations follow."""
    z = r * r
    sine = fma(r * z, polynomial(z, _SIN[32]), r)
    return (sine, None), (fma(z * z, polynomial(z, _COS[32]), fma(z, -0.5, 1.0)), None)


def _sin_cos(r: Scalar, r_low: Scalar) -> tuple[Sum, Sum]:
    """sin and cos of r + r_low, |r| <= pi/4."""
    z = r * r
    one, one_low = fast_two_sum(z.like(1.0), -0.5 * z)
    sine_low = fma(r * z, polynomial(z, _SIN[64]), r_low * one)
    return (r, sine_low), (one, one_low + fma(z * z, polynomial(z, _COS[64]), -(r * r_low)))


def _signed(value: Scalar, quadrant: Scalar) -> Scalar:
    """The value, negated in quadrants 2 and 3; `quadrant` is offset by `round_to_exponent`'s 2 * bias, which is 2 modulo 4."""
    return (value.bits() ^ (((quadrant & 2) ^ 2) << (quadrant.width - 2))).real()


def _value(parts: Sum) -> Scalar:
    return parts[0] if parts[1] is None else parts[0] + parts[1]


def _sin_of(sine: Sum, cosine: Sum, quadrant: Scalar) -> Scalar:
    return _signed(select((quadrant & 1).equals(0), _value(sine), _value(cosine)), quadrant)


def _cos_of(sine: Sum, cosine: Sum, quadrant: Scalar) -> Scalar:
    return _signed(select((quadrant & 1).equals(0), _value(cosine), _value(sine)), quadrant + 1)


def _tan_of(sine: Sum, cosine: Sum, quadrant: Scalar) -> Scalar:
    """sin/cos in even quadrants, -cos/sin in odd."""
    even = (quadrant & 1).equals(0)
    if sine[1] is None or cosine[1] is None:
        return select(even, sine[0], -cosine[0]) / select(even, cosine[0], sine[0])
    s, s_low = fast_two_sum(sine[0], sine[1])
    c, c_low = fast_two_sum(cosine[0], cosine[1])
    return divide(select(even, s, -c), select(even, s_low, -c_low), select(even, c, s), select(even, c_low, s_low))


_Of = Callable[[Sum, Sum, Scalar], Scalar]


def _far(x: Scalar, of: _Of) -> Scalar:
    """The function of finite |x| >= 2**28."""
    n, r, r_low = _reduce_far(widen(x) if x.width == 32 else x)
    result = of(*_sin_cos(r, r_low), n)
    return narrow(result) if x.width == 32 else result


def _near(x: Scalar, of: _Of) -> Scalar:
    """The function of |x| < 2**30; NaN for infinities."""
    if x.width == 32:
        n, r = _reduce_single(widen(x))
        return narrow(of(*_sin_cos_single(r), n))
    n, r, r_low = _reduce(x)
    return of(*_sin_cos(r, r_low), n)


def _circular(x: Scalar, of: _Of) -> Scalar:
    """The function of any x. Far angles are a slow path, because computing both would double the time of ordinary angles."""
    name = f"graphexec_shared{of.__name__}_far{x.width}"
    return replace_rare(x, _near(x, of), name, 2.0**28, lambda x: _far(x, of))


def _circular_single(x: Scalar, of: _Of) -> Scalar:
    """sin or cos of a float32, in float32 for twice as many lanes; large angles in float64."""
    n, r = _reduce_in_single(x)
    near = of(*_sin_cos_single(r), n)
    return replace_rare(x, near, f"graphexec_shared{of.__name__}_beyond32", 2.0**17, lambda x: _beyond(x, of))


def _beyond(x: Scalar, of: _Of) -> Scalar:
    """The function of a finite float32, computed in float64."""
    far = fabs(x) >= 2.0**28
    return select(far, _far(select(far, x, 2.0**28), of), _near(x, of))


def _finish(x: Scalar, result: Scalar) -> Scalar:
    """x itself where the function rounds to x, which preserves -0 and subnormals."""
    return select(fabs(x) < 2.0**-28, x, result)


def sin(x: Scalar) -> Scalar:
    return _finish(x, _circular_single(x, _sin_of) if x.width == 32 else _circular(x, _sin_of))


def cos(x: Scalar) -> Scalar:
    return _circular_single(x, _cos_of) if x.width == 32 else _circular(x, _cos_of)


def tan(x: Scalar) -> Scalar:
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


def atan(x: Scalar) -> Scalar:
    quarter, half = split(PI, x.width, 0.25), split(PI, x.width, 0.5)
    size = fabs(x)
    high, middle = size > 2.414213562373095, size > 0.4142135623730950
    t = select(high, -1.0, select(middle, size - 1, size)) / select(high, size, select(middle, size + 1, 1.0))
    base = select(high, half[0], select(middle, size.like(quarter[0]), 0.0))
    rest = select(high, half[1], select(middle, size.like(quarter[1]), 0.0))
    z = t * t
    return copysign(base + (t + fma(t * z, polynomial(z, _ATAN[x.width]), rest)), x)


def _asin_parts(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Whether |x| >= 1/2, and then s = sqrt((1 - |x|)/2), else |x|; and asin(s) - s."""
    size = fabs(x)
    large = size >= 0.5
    half = 0.5 * (1 - size)
    z = select(large, half, size * size)
    s = select(large, sqrt(half), size)
    return large, s, s * z * polynomial(z, _ASIN[x.width])


def asin(x: Scalar) -> Scalar:
    high, low = split(PI, x.width, 0.5)
    large, s, rest = _asin_parts(x)
    return copysign(select(large, high - (2 * s + (2 * rest - low)), s + rest), x)


def acos(x: Scalar) -> Scalar:
    half, whole = split(PI, x.width, 0.5), split(PI, x.width)
    large, s, rest = _asin_parts(x)
    near_one = 2 * (s + rest)
    near_minus_one = whole[0] - (2 * s + (2 * rest - whole[1]))
    s, rest = copysign(s, x), copysign(rest, x)
    return select(large, select(x < 0, near_minus_one, near_one), half[0] - (s + (rest - half[1])))
