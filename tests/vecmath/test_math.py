"""graphexec.math: two ulp everywhere, the special values, and packed instructions with no call to libm."""

import faulthandler
import math
import os
import platform
import re
import subprocess
import sys
from functools import cache

import mpmath
import numba
import numpy as np
import pytest
from helpers.run import native

import graphexec.math
from graphexec.plugin import elementwise
from graphexec.vecmath import numba_overloads as vector_math

ONE_ARGUMENT = [name for name in graphexec.math.__all__ if name not in ("pow", "like")]  # like converts, and computes nothing
DTYPES = ["float32", "float64"]
JIT = {"error_model": "numpy"}
MOST_ULP = 2.0
LONG = np.longdouble if np.finfo(np.longdouble).nmant > 60 else None
X86 = platform.machine() in ("x86_64", "AMD64")
inf, nan, pi = np.inf, np.nan, np.pi
pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="checks compiled code")


@cache
def compiled(name):
    """out[i] = f(x[i]), or f(x[i], y[i]) for pow."""
    vector_math.register()
    f = getattr(graphexec.math, name)

    if name == "pow":

        @numba.njit(**JIT)
        def loop(x, y, out):
            for i in range(x.size):
                out[i] = f(x[i], y[i])
    else:

        @numba.njit(**JIT)
        def loop(x, out):
            for i in range(x.size):
                out[i] = f(x[i])

    return loop


def run(name, *args):
    out = np.empty_like(args[0])
    compiled(name)(*args, out)
    return out


# --- Points ---------------------------------------------------------------------------------------------------------


def edges(dtype):
    """Zero, smallest, largest, thresholds of overflow, infinities, NaN, and neighbours, of both signs."""
    limits = np.finfo(dtype)
    at = [
        0, limits.smallest_subnormal, limits.smallest_normal, limits.max, inf, nan, 0.5, 1, 1.5, 2, 3, 4, 6, 7, 10, 20,
        0.41421356, 0.70710678, 0.25, 1.41421356, 2.41421356, 2**22, 2**23, 2**24, 2**28, 2**30, 2**52, 2**53, 2**60,
        87.33654, 88.72284, 89.41599, 103.97208, 126, 127, 128, 149, 150, 708.39642, 709.78271, 710.47586, 745.13322,
        1022, 1024, 1074, 1075, *(np.pi / 4 * np.arange(1, 20)),
    ]  # fmt: skip
    with np.errstate(over="ignore"):
        at = np.array(at, dtype)
        at = np.concatenate([at, np.nextafter(at, dtype(0)), np.nextafter(at, dtype(inf))])
    return np.concatenate([at, -at])


def points(dtype, count, rng):
    """A quarter each: any bit pattern, that is every magnitude; ordinary magnitudes; [-1.2, 1.2]; the range of exp."""
    part, bits = count // 4, np.finfo(dtype).bits
    pattern = rng.integers(0, 2**bits, part, dtype=f"uint{bits}").view(dtype)
    ordinary = 2.0 ** rng.uniform(-40, 12, part) * rng.choice([-1, 1], part)
    uniform = rng.uniform(-1.2, 1.2, part)
    wide = rng.uniform(-1, 1, part) * (106 if bits == 32 else 752)
    return np.concatenate([edges(dtype), pattern, *(p.astype(dtype) for p in (ordinary, uniform, wide))])


def pairs(dtype, count, rng):
    """x and y for pow: powers of every size, x near 1, negative x with whole y, any two patterns, any two edges."""
    part, bits = count // 4, np.finfo(dtype).bits
    pattern = rng.integers(0, 2**bits, 4 * part, dtype=f"uint{bits}").view(dtype)
    with np.errstate(all="ignore"):
        x1 = np.abs(pattern[:part])
        y1 = rng.uniform(-1.1, 1.1, part) * (140 if bits == 32 else 1060) / np.log2(x1)
        x2 = np.exp(rng.uniform(-1, 1, part) * 2.0 ** rng.uniform(-20, 1, part)).astype(dtype)
        y2 = rng.uniform(-1, 1, part) * (100 if bits == 32 else 740) / np.log(x2)
        x3, y3 = -np.exp(rng.uniform(-6, 6, part)), np.rint(rng.uniform(-60, 60, part))
        x5, y5 = (a.ravel() for a in np.meshgrid(edges(dtype), edges(dtype)[::3]))
        x = np.concatenate([x1, x2, x3, pattern[2 * part : 3 * part], x5]).astype(dtype)
        y = np.concatenate([y1, y2, y3, pattern[3 * part :], y5]).astype(dtype)
    return x, y


# --- References -----------------------------------------------------------------------------------------------------


@cache
def erf_terms(centre):
    """Coefficients of erf's Taylor series about a point: its derivatives are Hermite polynomials times e**-x**2."""
    with mpmath.workdps(30):
        c = mpmath.mpf(centre)
        terms = [mpmath.erf(c)]
        scale = 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-c * c)
        before, hermite = mpmath.mpf(0), mpmath.mpf(1)
        for k in range(22):
            terms.append(scale * hermite / mpmath.fac(k + 1))
            before, hermite = hermite, -2 * c * hermite - 2 * k * before
        return [LONG(mpmath.nstr(term, 25)) for term in terms]


def erf_reference(x):
    """erf of float64 or long double, from the nearest multiple of 1/8."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf)(x)
    size = np.minimum(np.abs(x), 7)
    centre = np.rint(size * 8)
    total = np.where(np.isnan(x), x, 0)
    for c in range(1, 57):
        here = centre == c
        total[here] = np.polynomial.polynomial.polyval(size[here] - LONG(c) / 8, erf_terms(c / 8))
    near = centre == 0  # the odd terms only, for a relative error
    total[near] = size[near] * np.polynomial.polynomial.polyval(size[near] ** 2, erf_terms(0)[1::2])
    return np.copysign(total, x)


def softplus_reference(x):
    return np.where(x < -40, np.exp(x), np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


REFERENCES = {
    "acos": np.arccos, "asin": np.arcsin, "atan": np.arctan, "erf": erf_reference, "pow": np.power,
    "rsqrt": lambda x: 1 / np.sqrt(x), "sigmoid": lambda x: np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-np.abs(x))),
    "softplus": softplus_reference,
}  # fmt: skip


def ulps(got, exact):
    """Distance in units in the last place of the exact value; infinity counts as the next power after the largest."""
    dtype, wide = got.dtype, exact.dtype.type
    top = wide(2) ** np.finfo(dtype).maxexp
    both_nan = np.isnan(got) & np.isnan(exact)
    with np.errstate(all="ignore"):
        unit = np.spacing(np.minimum(np.abs(exact), np.finfo(dtype).max).astype(dtype)).astype(wide)
        distance = np.abs(np.clip(got.astype(wide), -top, top) - np.clip(exact, -top, top)) / unit
    return np.where(both_nan, 0, np.where(np.isnan(distance), inf, distance))


def worst(name, dtype, count, run=run):
    """The largest error of the compiled function, and the arguments where it occurs."""
    rng = np.random.default_rng(20240)
    args = pairs(dtype, count, rng) if name == "pow" else (points(dtype, count, rng),)
    wide = np.float64 if dtype == np.float32 else LONG
    with np.errstate(all="ignore"):
        exact = REFERENCES.get(name, getattr(np, name, None))(*(a.astype(wide) for a in args))
    got = run(name, *args)
    error = ulps(got, exact)
    at = int(np.argmax(error))
    return float(error[at]), [a[at] for a in args], got[at], exact[at]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ONE_ARGUMENT, "pow"])
@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_two_ulp(name, dtype, count):
    if dtype == "float64" and LONG is None:
        pytest.skip("no long double to compare with; test_two_ulp_mpmath covers float64")
    error, args, got, exact = worst(name, np.dtype(dtype).type, count)
    assert error <= MOST_ULP, f"{name}{args} = {got!r}, exactly {exact!r}: {error} ulp"


def run_kernel(name, *args):
    """As `run`, by an op of that function: our own compiler's passes put vectors together in another way than Numba's."""
    f = getattr(graphexec.math, name)
    declare = elementwise(reference=np.copysign, domain=(0.0, 1.0), differentiable=False)  # checked here instead

    if name == "pow":

        @declare
        def kernel_of_math(x, y):
            return f(x, y)
    else:

        @declare
        def kernel_of_math(x):
            return f(x)

    return native(kernel_of_math.op, args)[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ONE_ARGUMENT, "pow"])
def test_two_ulp_in_kernels(name, dtype):
    if dtype == "float64" and LONG is None:
        pytest.skip("no long double to compare with")
    faulthandler.dump_traceback_later(100, exit=True)  # a function that never returns cannot be interrupted
    try:
        error, args, got, exact = worst(name, np.dtype(dtype).type, 20_000, run_kernel)
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert error <= MOST_ULP, f"{name}{args} = {got!r}, exactly {exact!r}: {error} ulp"


def distances(name):
    """out[i] = ulps of the float32 function at x[i], against its float64 self; packed, to reach every float32."""
    vector_math.register()
    f = getattr(graphexec.math, name)

    @numba.njit(**JIT)
    def loop(x, out):
        for i in range(x.size):
            got, exact = np.float64(f(x[i])), f(np.float64(x[i]))
            power = np.int64(np.float64(np.float32(exact)).view(np.int64) & (0x7FF << 52)).view(np.float64)
            power = 2.0**-126 if power < 2.0**-126 else 2.0**127 if power > 2.0**127 else power
            got = 2.0**128 if got > 2.0**128 else -(2.0**128) if got < -(2.0**128) else got
            exact = 2.0**128 if exact > 2.0**128 else -(2.0**128) if exact < -(2.0**128) else exact
            out[i] = 0 if (got != got) & (exact != exact) else np.float32(abs(got - exact) / power * 2.0**23)

    return loop


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["cos", "erf", "exp", "expm1", "sigmoid", "sin", "softplus", "tanh"])
def test_two_ulp_every_float32(name):
    """All 2**32 patterns; of odd and even functions the positive ones, and of sin and cos those for which they have code of
    their own. float64, which the tests here hold to 2 ulp of its own, is exact to 2**-28 ulp of float32.
    """
    loop, block = distances(name), 1 << 20
    out, most = np.empty(block, np.float32), 0.0
    ends = {"sin": int(np.float32(2**18).view(np.uint32)), "tanh": 1 << 31}
    for start in range(0, (ends | {"cos": ends["sin"], "erf": ends["tanh"]}).get(name, 1 << 32), block):
        loop(np.arange(start, start + block, dtype=np.uint32).view(np.float32), out)
        most = max(most, float(out.max()))  # out.max() is NaN if one is
        assert out.max() <= MOST_ULP, f"{name} in the block from pattern {start:#x}"
    print(f"{name}: {most:.2f} ulp")


def test_distances_agree():
    """The packed measure of errors is the other one, at special values too."""
    x = points(np.float32, 4000, np.random.default_rng(1))
    out = np.empty_like(x)
    for name in ("exp", "tanh"):
        distances(name)(x, out)
        with np.errstate(invalid="ignore"):
            expected = ulps(run(name, x), run(name, x.astype(float)))
        np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-30)


# Nearest of all doubles to a multiple of pi/2 (2**-61 away), and other hard arguments of large size.
HARD_ANGLES = [math.ldexp(6381956970095103, 797), math.ldexp(5706674932067741, 4), 1e22, 2.0**30, 2.0**28 - 1, 1.5e300]
MPMATH = {
    "rsqrt": lambda x: 1 / mpmath.sqrt(x), "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "pow": mpmath.power,
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)), "exp2": lambda x: mpmath.power(2, x),
    "log2": lambda x: mpmath.log(x, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_two_ulp_mpmath(name):
    """float64 against 60 digits, at few points: an independent reference, and the only one without long double."""
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.uniform(-1, 1, 40), rng.uniform(-700, 700, 20), 2.0 ** rng.uniform(-1000, 3, 20)])
    if name in ("sin", "cos", "tan"):
        x = np.concatenate([x, HARD_ANGLES, np.negative(HARD_ANGLES)])
    exact_function = MPMATH.get(name, getattr(mpmath, name, None))
    with mpmath.workdps(400 if name in ("softplus", "log1p", "expm1") else 60):
        for argument, got in zip(x, run(name, x), strict=True):
            exact = exact_function(mpmath.mpf(argument))
            if not isinstance(exact, mpmath.mpf):  # complex outside the domain
                assert np.isnan(got), (name, argument)
                continue
            error = abs(mpmath.mpf(got) - exact) / mpmath.mpf(np.spacing(abs(float(exact))))
            assert error <= MOST_ULP, (name, argument, got, float(error))


SPECIAL = {
    "exp": [(0, 1), (inf, inf), (-inf, 0), (1000, inf), (-1000, 0)],
    "exp2": [(0, 1), (inf, inf), (-inf, 0), (10, 1024), (-1, 0.5), (2000, inf), (-2000, 0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -1), (1000, inf), (-1000, -1)],
    "log": [(0.0, -inf), (-0.0, -inf), (1, 0.0), (inf, inf), (-1, nan), (-inf, nan)],
    "log2": [(0.0, -inf), (-0.0, -inf), (1, 0.0), (8, 3), (0.125, -3), (inf, inf), (-1, nan), (-inf, nan)],
    "log10": [(0.0, -inf), (-0.0, -inf), (1, 0.0), (inf, inf), (-1, nan), (-inf, nan)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1, -inf), (inf, inf), (-2, nan), (-inf, nan)],
    "sqrt": [(0.0, 0.0), (-0.0, -0.0), (4, 2), (inf, inf), (-1, nan), (-inf, nan)],
    "rsqrt": [(0.0, inf), (-0.0, -inf), (4, 0.5), (inf, 0.0), (-1, nan), (-inf, nan)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (inf, 1), (-inf, -1), (50, 1)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (inf, 1), (-inf, 0.0), (1000, 1), (-1000, 0.0)],
    "softplus": [(inf, inf), (-inf, 0.0), (1000, 1000), (-1000, 0.0)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (inf, 1), (-inf, -1), (10, 1)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan)],
    "cos": [(0.0, 1), (-0.0, 1), (inf, nan), (-inf, nan)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (inf, pi / 2), (-inf, -pi / 2)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1, pi / 2), (-1, -pi / 2), (1.5, nan), (inf, nan), (-inf, nan)],
    "acos": [(1, 0.0), (-1, pi), (1.5, nan), (inf, nan), (-inf, nan)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (1000, inf), (-1000, -inf)],
    "cosh": [(0.0, 1), (-0.0, 1), (inf, inf), (-inf, inf), (1000, inf)],
}
POW_SPECIAL = [
    (nan, 0, 1), (inf, -0.0, 1), (1, nan, 1), (1, inf, 1), (-1, inf, 1), (-1, -inf, 1), (nan, 1, nan), (2, nan, nan),
    (0.0, 3, 0.0), (-0.0, 3, -0.0), (-0.0, 2, 0.0), (-0.0, 0.5, 0.0), (0.0, -3, inf), (-0.0, -3, -inf), (-0.0, -2, inf),
    (0.0, -inf, inf), (0.0, inf, 0.0), (0.5, inf, 0.0), (0.5, -inf, inf), (2, inf, inf), (2, -inf, 0.0), (inf, 2, inf),
    (inf, -2, 0.0), (-inf, 3, -inf), (-inf, 2, inf), (-inf, 0.5, inf), (-inf, -3, -0.0), (-inf, -2, 0.0), (-8, 3, -512),
    (-8, 2, 64), (-8, -1, -0.125), (-8, 0.5, nan), (-8, 1 / 3, nan), (4, 0.5, 2), (10, 400, inf), (-10, 401, -inf),
    (10, -400, 0.0), (-10, -401, -0.0), (-1.5, 1e30, inf), (nan, nan, nan), (3, 4, 81),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_special_values(name, dtype):
    """The same from compiled code and from NumPy, to the sign of zero, without a warning."""
    x, expected = np.array([*SPECIAL[name], (nan, nan)]).T.astype(dtype)
    for got in (run(name, x), getattr(graphexec.math, name)(x)):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(np.signbit(got[expected == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pow_special_values(dtype):
    x, y, expected = np.array(POW_SPECIAL).T
    x, y, expected = x.astype(dtype), y.astype(dtype), expected.astype(dtype)
    for got in (run("pow", x, y), graphexec.math.pow(x, y)):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(np.signbit(got[expected == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ONE_ARGUMENT, "pow"])
def test_plain_python_agrees(name, dtype):
    """The NumPy functions mean what the compiled ones mean."""
    x = np.random.default_rng(3).uniform(0.01, 0.99, 50).astype(dtype)
    args = (x, x) if name == "pow" else (x,)
    np.testing.assert_array_max_ulp(getattr(graphexec.math, name)(*args), run(name, *args), 6, dtype)


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_plain_python_scalars(name):
    f = getattr(graphexec.math, name)
    assert isinstance(f(0.5), float)
    assert isinstance(f(np.float32(0.5)), np.float32)
    assert f(np.array(0.5)) == f(0.5)
    assert f(1) == f(1.0) == f(np.int8(1))
    assert f(np.zeros((0, 3), "float32")).shape == (0, 3)


def test_argument_types():
    """Integers are computed in float64, mixed arguments in the wider type."""
    vector_math.register()
    f, g = graphexec.math.exp, graphexec.math.pow

    @numba.njit
    def call(x, y):
        return f(x), g(x, y)

    single, double = np.float32(1.5), 2.5
    assert call(2, 3) == (pytest.approx(math.e**2, rel=1e-15), 8.0)
    assert call(True, 3) == (pytest.approx(math.e, rel=1e-15), 1.0)
    assert call(single, double)[1] == pytest.approx(1.5**2.5, rel=1e-15)
    assert call.overloads[numba.float32, numba.float64].signature.return_type[0] == numba.float32


@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "log1p", "log10", "softplus", "sin", "tan", "pow"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_flags_of_the_loop_change_nothing(name, dtype):
    """A caller may reassociate its own sums; compensated sums in here survive."""
    rng = np.random.default_rng(5)
    args = pairs(np.dtype(dtype).type, 4000, rng) if name == "pow" else (points(np.dtype(dtype).type, 4000, rng),)
    loose = numba.njit(error_model="numpy", fastmath={"contract", "nsz", "reassoc", "arcp"})(compiled(name).py_func)
    out = np.empty_like(args[0])
    loose(*args, out)
    np.testing.assert_array_equal(out, run(name, *args))


PACKED = r"\bv(?:f?n?m?(?:add|sub|mul)|div|sqrt)\w*p[sd]\s[^\n]*[yz]mm" if X86 else r"\bf\w+\s+v\d+\.(?:4s|2d)"
LIBM = rf"(?<![\w.])(?:{'|'.join([*ONE_ARGUMENT, 'pow', 'fma', 'rint', 'ldexp'])})f?(?![\w.])"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ONE_ARGUMENT, "pow"])
def test_packed(name, dtype):
    """The loop is vector code and calls nothing of the C library."""
    array = numba.from_dtype(np.dtype(dtype))[::1]
    signature = (array,) * (3 if name == "pow" else 2)
    loop = compiled(name)
    loop.compile(signature)
    assembly = loop.inspect_asm(signature)
    assert re.search(PACKED, assembly)
    assert not re.search(LIBM, assembly)


def test_packed_together():
    """Several functions with rare cases in one loop, one under a condition."""
    vector_math.register()
    sin, cos, exp = graphexec.math.sin, graphexec.math.cos, graphexec.math.exp

    @numba.njit(**JIT)
    def loop(x, out):
        for i in range(x.size):
            out[i] = sin(x[i]) * cos(x[i]) if x[i] > 0 else exp(x[i])

    x = np.random.default_rng(2).normal(0, 1e9, 1001)
    out = np.empty_like(x)
    loop(x, out)
    np.testing.assert_allclose(out, np.where(x > 0, np.sin(x) * np.cos(x), np.exp(np.minimum(x, 0))), 1e-15, 1e-300)
    assert re.search(PACKED, loop.inspect_asm(loop.signatures[0]))


def test_packed_is_no_empty_test():
    @numba.njit(**JIT)
    def loop(x, out):
        for i in range(x.size):
            out[i] = math.exp(x[i])

    signature = (numba.float64[::1],) * 2
    loop.compile(signature)
    assembly = loop.inspect_asm(signature)
    assert re.search(LIBM, assembly)
    assert not re.search(PACKED, assembly)


@pytest.mark.slow
@pytest.mark.skipif(not X86, reason="AVX2 is of x86")
def test_packed_for_avx2():
    environment = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+f16c"}
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "test_packed and not avx2"]
    done = subprocess.run([sys.executable, *tests], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_math_imports_no_numba():
    """The module by itself, whatever `import graphexec` loads."""
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, graphexec.math.__file__], check=False).returncode == 0


def test_register_twice():
    vector_math.register()
    before = numba.core.typing.templates.builtin_registry.globals.copy()
    vector_math.register()
    assert numba.core.typing.templates.builtin_registry.globals == before
