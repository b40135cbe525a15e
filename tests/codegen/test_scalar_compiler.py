"""Functions that are compiled without Numba give what Numba's code gives, bit for bit, and have its types."""

import ctypes
import itertools
import math as libm

import numpy as np
import pytest

from graphexec import math
from graphexec.codegen import linker
from graphexec.codegen.op_functions import compile_by_numba
from graphexec.codegen.scalar_compiler import compile_scalar
from graphexec.codegen.scalar_values import Unsupported
from graphexec.codegen.specialize import specialized
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp
from graphexec.ir.registry import registry
from graphexec.llvm import toolchain
from graphexec.plugin import elementwise

C_TYPES = {
    "float32": ctypes.c_float, "float64": ctypes.c_double, "int32": ctypes.c_int32, "int64": ctypes.c_int64, "bool": ctypes.c_int8,
}  # fmt: skip
RESULTS = {"float32": "f4", "float64": "f8", "int32": "i4", "int64": "i8", "bool": "u1"}
SPECIAL = {
    "f": [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.25, 1e-40, 1e30, -1e30, np.inf, -np.inf, np.nan, 20.5, -0.1],
    "i": [0, 1, -1, 2, -7, 63, 2**31 - 1, -(2**31)],
    "b": [0, 1],
}
DTYPES = ("float32", "float64", "int32", "int64", "bool")
_names = itertools.count()


def native(ir, name, types, results):
    """A function of numbers that calls compiled code: its status and its results."""
    address = linker.link(linker.pack(toolchain.build([ir], name), []), name)
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[C_TYPES[t] for t in types])(address)
    record = np.dtype([(f"r{k}", RESULTS[r]) for k, r in enumerate(results)], align=True)

    def run(numbers):
        out, exception = np.zeros(1, record), np.zeros(8, "u1")
        status = call(out.ctypes.data, exception.ctypes.data, *numbers)
        return status, out[0]

    return run


def numbers(types, rng):
    """Special values of each type in all combinations, or many of them; and drawn ones."""
    pools = [SPECIAL[t[0]] for t in types]
    yield from itertools.product(*pools) if len(types) < 3 else (tuple(rng.choice(p) for p in pools) for _ in range(300))
    for _ in range(200):
        yield tuple(
            3 * rng.standard_normal() if t[0] == "f" else int(rng.integers(-50, 50)) if t[0] == "i" else int(rng.integers(2))
            for t in types
        )


def direct(op, types, dtype, constants):
    """The op's function, compiled without Numba."""
    name = f"direct_{next(_names)}"
    function = specialized(op.function, constants, scalar=True)
    return name, compile_scalar(function, types, dtype, name, lambda helper: specialized(helper, {}, scalar=True))


def agree(op, types, dtype, constants=None, rtol=0.0):
    """Compiles both ways, and compares types, status and numbers; a NaN is any NaN."""
    constants = constants or {}
    name, one = direct(op, types, dtype, constants)
    other = compile_by_numba(op, f"{name}_numba", lambda f: [f.SCALARS[t] for t in types], constants, dtype, scalar=True)
    assert one.results == other.results
    ours, theirs = native(one.ir, name, types, one.results), native(other.ir, f"{name}_numba", types, other.results)
    for given in numbers(types, np.random.default_rng(4)):
        (status, found), (expected_status, expected) = ours(given), theirs(given)
        assert status == expected_status
        for a, b in zip(found.item(), expected.item(), strict=True):
            near = rtol and abs(a - b) <= rtol * abs(b)
            assert near or (a != a and b != b) or np.array(a).tobytes() == np.array(b).tobytes(), (given, found, expected)


def cases():
    """Each scalar function of the built-in ops, and the backward functions derived from them, with each of its types."""
    ops = [registry.get(n) for n in registry.names()]
    ops = [op for op in ops if isinstance(op, (ElementwiseOp, ReductionOp)) and not op.variadic]
    ops += [op.backward_op for op in ops if isinstance(op, ElementwiseOp) and op.backward_op is not None]
    return [(op, dtype) for op in ops for dtype in DTYPES if dtype[0] in op.kinds]


def types_of(op, dtype):
    required = {"dtype": "float32"} if "dtype" in op.attributes else {"by": 1} if "by" in op.attributes else {}
    given = op.check_attributes(required)
    words = [k for k, v in given.items() if type(v) is float]
    operands = (dtype, dtype) if isinstance(op, ReductionOp) else tuple(op.types.get(p, dtype) for p in op.inputs)
    types = (*operands, *[dtype if dtype[0] == "f" else "float64" for _ in words])
    return types, {k: v for k, v in given.items() if k not in words}


CASES = cases()
DEFAULT = {
    "add", "clip", "maximum_backward", "where", "gelu", "remainder", "power_backward", "adam", "left_shift", "sum", "not_equal",
}  # fmt: skip


@pytest.mark.parametrize(
    ("op", "dtype"),
    [pytest.param(*c, marks=() if c[0].name in DEFAULT else pytest.mark.slow, id=f"{c[0].name}-{c[1]}") for c in CASES],
)
def test_every_scalar_function_is_numbas(op, dtype):
    types, constants = types_of(op, dtype)
    agree(op, types, dtype, constants)


# -- Python


SCALE = 3
HALF = 0.5


def _twice(x):
    return x + x


def _both(x, y):
    return x + y, x - y


def branches(x, y):
    if x > y:
        z = x * 2
        if x > 1:
            return z - y
    elif x == y:
        z = y
    else:
        z = y * 3
    return z + x


def loop(x, y):
    total = 0.0
    for k in range(1, 6, 2):
        total += x * k - y
    return total


def powers(x, y):
    return x**2 + y**5 - x**-3 + y**0


def helpers(x, y):
    a, b = _both(_twice(x), y)
    return a * b, b


def globals_of_a_module(x, y):
    return x * SCALE + y * HALF + libm.pi


def extremes(x, y):
    z = x + y
    return min(z, 2 * z, z * z), max(z, -z), abs(z)


def truths(x, y):
    return (x < y <= 2) or not (x == 0 and y != 1), not x


def roundings(x, y):
    return np.floor(x) + np.ceil(y), np.rint(x), np.trunc(y)


def quotients(x, y):
    return x // y, x % y, -x // 2, (x * 3) % -y


def conversions(x, y):
    return float(x) + y, math.like(1, y) + x


def mathematics(x, y):
    return math.exp(-abs(x)) + math.pow(abs(x), y), math.log1p(math.sqrt(abs(y)))


def sides_of_two_types(x, y):
    return SCALE if x > y else y


FLOATS = (branches, loop, powers, helpers, globals_of_a_module, extremes, truths, roundings, quotients, conversions, mathematics)


@pytest.mark.parametrize("types", [("float32", "float32"), ("float64", "float64"), ("float32", "float64")], ids=str)
@pytest.mark.parametrize("function", FLOATS, ids=lambda f: f.__name__)
def test_python_is_numbas(function, types):
    either = function is powers  # of two products, LLVM may fuse the one or the other with their sum
    agree(elementwise(differentiable=False)(function).op, types, types[1], rtol=1e-6 if either else 0.0)


def test_a_negative_power_of_zero_is_infinite():
    op = elementwise(differentiable=False)(powers).op
    name, made = direct(op, ("float64", "float64"), "float64", {})
    assert native(made.ir, name, ("float64", "float64"), made.results)((0.0, 1.0)) [1].item() == (-np.inf,)


def integers(x, y):
    return x + y * 2, x / 2, x & y, x ^ 3, -x, x < y, x // y, x % y, abs(x) // 3


def shifts(x, y):
    return x << (y & 31), x >> (y & 31), ~x


@pytest.mark.parametrize("types", [("int32", "int32"), ("int64", "int64"), ("int32", "int64")], ids=str)
@pytest.mark.parametrize("function", [integers, shifts, sides_of_two_types, conversions], ids=lambda f: f.__name__)
def test_integers_are_numbas(function, types):
    if function is conversions:
        types = (types[0], "float32")
    agree(elementwise(differentiable=False, kinds="fi")(function).op, types, types[1])


def _while(x, y):
    while x > y:
        x = x - 1
    return x


def _power_of_values(x, y):
    return x**y


def _long_loop(x, y):
    for _ in range(1000):
        x = x + y
    return x


def _of_a_local_name_that_is_not_set(x, y):
    if x > y:
        SCALE = x
    return SCALE


def _array(x, y):
    return np.array([x, y]).sum()


def _many_returns(x, y):
    if x > 0:
        return x
    return x, y


UNKNOWN = (_while, _power_of_values, _long_loop, _of_a_local_name_that_is_not_set, _array, _many_returns)


@pytest.mark.parametrize("function", UNKNOWN, ids=lambda f: f.__name__)
def test_what_is_unknown_is_left_to_numba(function):
    op = elementwise(differentiable=False)(function).op
    with pytest.raises(Unsupported):
        direct(op, ("float32", "float32"), "float32", {})
