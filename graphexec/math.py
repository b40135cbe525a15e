"""Elementwise functions that vectorize inside compiled loops: exp, tanh, erf, pow and their relatives.

Ops call these instead of NumPy or the C library. Under Numba each becomes branch-free code that LLVM inlines and
vectorizes (`graphexec.vecmath`). As plain Python they are NumPy functions with the same meaning; the interpreter and
`NUMBA_DISABLE_JIT=1` run those. float32 stays float32, float64 stays float64, integers become float64.
Errors are those of the compiled code, in units in the last place (ulp): the worst measured, rounded up. exp, expm1, tanh,
sigmoid, softplus and erf were measured at every float32, all else at millions of points over every magnitude, subnormals
included; a single figure is the worse of float32 and float64. NaN gives NaN. No function warns: log(-1) is NaN, exp(1000)
is inf.

>>> sigmoid(np.zeros(2, "float32"))
array([0.5, 0.5], dtype=float32)
"""

import math as _libm
from typing import Any

import numpy as np

__all__ = [
    "acos", "asin", "atan", "cos", "cosh", "erf", "exp", "exp2", "expm1", "like", "log", "log1p", "log2", "log10", "pow",
    "rsqrt", "sigmoid", "sin", "sinh", "softplus", "sqrt", "tan", "tanh",
]  # fmt: skip

Real = Any  # a Python float, a NumPy scalar, or an array of float32 or float64


def _real(x: Real) -> Real:
    """x, with integers converted to float64."""
    return x if isinstance(x, float) or np.asarray(x).dtype.kind == "f" else np.asarray(x, np.float64)[()]


def _apply(function: Any, *x: Real) -> Real:
    with np.errstate(all="ignore"):
        return function(*(_real(argument) for argument in x))


def exp(x: Real) -> Real:
    """Exponential, e**x. At most 1.1 ulp (float64 1.0). exp(-inf) = 0. Source: Cephes' reduction by ln 2."""
    return _apply(np.exp, x)


def exp2(x: Real) -> Real:
    """Power of two, 2**x. At most 1.4 ulp; exact for integers. Source: as exp."""
    return _apply(np.exp2, x)


def expm1(x: Real) -> Real:
    """Exponential minus one, e**x - 1, accurate near 0. At most 1.5 ulp. expm1(-inf) = -1. Source: as exp."""
    return _apply(np.expm1, x)


def log(x: Real) -> Real:
    """Natural logarithm. At most 0.9 ulp. log(0) = -inf, log(x < 0) = NaN. Source: FreeBSD msun, e_log.c."""
    return _apply(np.log, x)


def log2(x: Real) -> Real:
    """Logarithm to base 2. At most 0.9 ulp; exact for powers of two. Special values as log. Source: FreeBSD msun."""
    return _apply(np.log2, x)


def log10(x: Real) -> Real:
    """Logarithm to base 10. At most 0.8 ulp. Special values as log. Source: FreeBSD msun, e_log10.c."""
    return _apply(np.log10, x)


def log1p(x: Real) -> Real:
    """log(1 + x), accurate near 0. At most 0.9 ulp. log1p(-1) = -inf, below that NaN. Source: FreeBSD msun."""
    return _apply(np.log1p, x)


def sqrt(x: Real) -> Real:
    """Square root, correctly rounded. sqrt(-0) = -0, sqrt(x < 0) = NaN. Source: IEEE 754."""
    return _apply(np.sqrt, x)


def rsqrt(x: Real) -> Real:
    """Reciprocal square root, 1 / sqrt(x). At most 1.5 ulp. rsqrt(0) = inf, rsqrt(-0) = -inf, rsqrt(inf) = 0."""
    return _apply(lambda x: np.reciprocal(np.sqrt(x)), x)


def tanh(x: Real) -> Real:
    """Hyperbolic tangent, (1 - e**-2x) / (1 + e**-2x). At most 1.96 ulp (float64 1.6); +-1 at +-inf. Source: DLMF 4.28."""
    return _apply(np.tanh, x)


def sigmoid(x: Real) -> Real:
    """Logistic function, 1 / (1 + e**-x). At most 1.8 ulp; no overflow on either side."""

    def stable(x: Real) -> Real:
        e = np.exp(-np.abs(x))
        return np.where(np.greater_equal(x, 0), 1, e) / (1 + e)

    return _apply(stable, x)


def softplus(x: Real) -> Real:
    """log(1 + e**x) = max(x, 0) + log1p(e**-|x|). At most 1.9 ulp; softplus(inf) = inf, softplus(-inf) = 0."""
    return _apply(lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), x)


_erf = np.vectorize(_libm.erf, otypes=[np.float64])


def erf(x: Real) -> Real:
    """Error function, 2/sqrt(pi) times the integral of e**-t**2 over [0, x]. At most 1.99 ulp (float64 1.7); +-1 at +-inf."""
    return _apply(lambda x: _erf(x).astype(np.asarray(x).dtype)[()], x)


def sin(x: Real) -> Real:
    """Sine. At most 0.8 ulp for every finite x; sin(+-inf) = NaN. Source: Payne and Hanek (1983); FreeBSD msun."""
    return _apply(np.sin, x)


def cos(x: Real) -> Real:
    """Cosine. At most 0.8 ulp for every finite x; cos(+-inf) = NaN. Source: as sin."""
    return _apply(np.cos, x)


def tan(x: Real) -> Real:
    """Tangent, sin(x) / cos(x). At most 1.0 ulp for every finite x; tan(+-inf) = NaN. Source: as sin."""
    return _apply(np.tan, x)


def atan(x: Real) -> Real:
    """Inverse tangent, in (-pi/2, pi/2). At most 1.9 ulp; +-pi/2 at +-inf. Source: Cephes, atan.c."""
    return _apply(np.arctan, x)


def asin(x: Real) -> Real:
    """Inverse sine, in [-pi/2, pi/2]. At most 1.6 ulp; NaN outside [-1, 1]. Source: FreeBSD msun, e_asin.c."""
    return _apply(np.arcsin, x)


def acos(x: Real) -> Real:
    """Inverse cosine, in [0, pi]. At most 1.1 ulp; NaN outside [-1, 1]. Source: FreeBSD msun, e_acos.c."""
    return _apply(np.arccos, x)


def sinh(x: Real) -> Real:
    """Hyperbolic sine, (e**x - e**-x) / 2. At most 1.7 ulp; infinite only where it overflows. Source: DLMF 4.28."""
    return _apply(np.sinh, x)


def cosh(x: Real) -> Real:
    """Hyperbolic cosine, (e**x + e**-x) / 2. At most 1.6 ulp; infinite only where it overflows. Source: DLMF 4.28."""
    return _apply(np.cosh, x)


def pow(x: Real, y: Real) -> Real:  # noqa: A001 - the function is called pow everywhere
    """Power, x**y. At most 1.4 ulp. Mixed float32 and float64 give float64, as in NumPy.

    Special values of C99, annex F.9.4.4: x**0 = 1 and 1**y = 1 even for NaN; (-1)**inf = 1; x < 0 with a
    non-integer y gives NaN; zeros and infinities take the sign of x for odd y. Source: double-double log2, as in SLEEF.
    """
    return _apply(np.power, x, y)


def like(x: Real, y: Real) -> Real:
    """Converts x to the element type of y, so that an expression with an integer operand stays float32."""
    return np.asarray(x).astype(np.asarray(y).dtype)[()]
