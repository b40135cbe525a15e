"""Derived backward rules: every construct against central differences, derived twice, un-jitted and compiled."""

import inspect
import math as libm
import os
import pathlib
import subprocess
import sys

import numba
import numpy as np
import pytest

import graphexec as gx
from graphexec import math
from graphexec.autodiff.scalar import derive_backward
from graphexec.autodiff.scalar import rules as derive_rules
from graphexec.codegen import specialize as source
from graphexec.errors import DifferentiationError
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.llvm import fingerprint
from graphexec.math import exp, tanh
from graphexec.plugin import elementwise
from graphexec.vecmath import numba_overloads as vector_math

vector_math.register()

COEFFICIENTS = (0.3, -1.2, 0.7, 2.0)
THIRD = 3
SCALE = 1.7


def make(function, **fields):
    return elementwise(function, reference=np.abs, domain=(-1, 1), **fields).op


# -- helpers that functions call


def plain_helper(a, b):
    if a > 0.4:
        return a * b
    return b - a * a


@numba.njit
def cube(a):
    return a * a * a


@numba.njit
def bend(a, b=0.5):
    return cube(a) + b * a, a - b


def square_and_one(x):
    return x * x, 1.0


def floored(a):
    return libm.floor(a)


def recursive(a):
    return a if a < 1 else recursive(a - 1)


# -- constructs, each of (x, y) away from kinks


def arithmetic(x, y):
    return -x * y + 3 * x / (2 - y) - +y


def tuple_assignment(x, y):
    a, b = x * y, x - y
    a, b = b, a * b
    return a * b


def augmented(x, y):
    t = x
    t *= y
    t += x
    t -= y * y
    t /= x
    return t


def annotated(x, y):
    t: float = x * y
    u: float
    u = t * t
    return u


def chained_assignment(x, y):
    a = b = x * y
    a = a * b
    x = c = -x
    return a + b + x * c * c


def reassigned_operand(x, y):
    x = x * y
    y = x + y
    x = exp(x)
    return x * y


def set_to_constant(x, y):
    t = x * x
    if y > 0.3:
        t = 2.0
    return t * y


def branches(x, y):
    if x > y:
        t = x * x
    elif x > -y:
        t = x * y
    else:
        t = 1.0
    return t * t + y


def early_return(x, y):
    if x > 0.5:
        return x * y
    if y > 0.5:
        return y * y
    return 0.0


def conditional(x, y):
    return (x * x if x > y else y) * (1 if x > 0.1 else 0.5 * y)


def conditional_calls(x, y):
    t = exp(x) * y if x > y else math.sin(x * y) * y
    return t * t


def conditional_whole(x, y):
    return 1 if x > y else tanh(x * x) * exp(y)


def boolean(x, y):
    inside = (x > 0.2 and y > 0.2) or not (x < 0.7)
    both = (x > 0) & (y > 0)
    return x * x if inside else y * x if both else y


def while_loop(x, y):
    t = x
    n = 0
    while n < 3 and t < 100.0:
        t = t * y + x
        n += 1
    return t


def newton(x, y):
    r = 1.0
    for _ in range(5):
        r = 0.5 * (r + (2 + x * y) / r)
    return r


def horner(x, y):
    t = 0.0
    for c in COEFFICIENTS:
        t = t * x + c
    return t * y


def indexed(x, y):
    t = 0.0
    for k in range(4):
        if k == 2:
            continue
        t = t * y + COEFFICIENTS[k] * x * k
    return t


def counted(x, y):
    t = 0.0
    n = 0
    while n < 4:
        t = t * x + COEFFICIENTS[n] * y
        n += 1
    return t


def broken_off(x, y):
    t = x
    for k in range(10):
        if k > 2 and t > 0.1:
            break
        t = t * y + 0.2
    return t


def swapping_loop(x, y):
    a, b = x, y
    for _ in range(3):
        a, b = b, a * b + x
    return a


def whole_powers(x, y):
    return x**0 + x**1 + x**2 * y**3 + (x + 2) ** -2 + (y + 2) ** -1


def real_powers(x, y):
    return (x * x + 1) ** 0.5 + (y * y + 1) ** 2.0 + (x * x + 2) ** -1.5 + x**THIRD


def general_power(x, y):
    return (x * x + 0.5) ** y + 2**x + math.pow(y * y + 1, x)


def modulo(x, y):
    return (x + 5) % (y + 3) + (x + 5) // (y + 3) * x


def extremes(x, y):
    return max(x, y) * min(x * x, y) + max(x, 0.3, y * y) + abs(x * y - 0.2)


def ufuncs(x, y):
    a = np.maximum(x, y) + np.minimum(0.1, y) + np.where(x > y, x * x, y) + np.abs(x)
    return a + np.square(x) + np.arctan2(x, y + 3) + np.hypot(x, y + 2) + np.add(x, np.multiply(x, y))


def three_modules(x, y):
    return math.exp(x) * libm.sin(y) + np.cos(x * y) + libm.atan2(y, x + 3) + tanh(x)


def rounded(x, y):
    return libm.floor(3 * x) * y + np.rint(x) * x + int(3.7 * y) * x + float(x) * y


def calls_plain(x, y):
    return plain_helper(x * y, y) + plain_helper(y, b=x) + floored(3.7 * x) * y


def calls_njit(x, y):
    a, b = bend(x * y)
    p, q = bend(b=x, a=a)
    return cube(x) * b + p * q


def names_of_generated_code(x, y):
    d_out = x * y
    t1 = d_out * x
    d_out_by_x = t1 + y
    return d_out_by_x * t1


def from_closure():
    factor, power = 2.5, 3

    def closure(x, y):
        return factor * x**power * y + SCALE * x

    return closure


CONSTRUCTS = [
    arithmetic, tuple_assignment, augmented, annotated, chained_assignment, reassigned_operand, set_to_constant, branches,
    early_return, conditional, conditional_calls, conditional_whole, boolean, while_loop, newton, horner, indexed, counted,
    broken_off,
    swapping_loop, whole_powers, real_powers, general_power, modulo, extremes, ufuncs, three_modules, rounded, calls_plain,
    names_of_generated_code, from_closure(),
]  # fmt: skip
POINTS = np.random.default_rng(7).uniform(-0.9, 0.9, (40, 2)).round(3)


def slow(op, values, attributes):
    """The op's results, un-jitted, as an array."""
    results = op.function(*(np.float64(values[p]) for p in op.inputs), **{k: attributes[k] for k in op.attributes})
    return np.array(results if len(op.outputs) > 1 else [results], dtype=np.float64)


def check_derivative(op, backward, values, attributes, step=1e-6):
    """The derived op of ``op`` against differences: its deltas are the deltas of the outputs times the Jacobian."""
    weights = {f"d_{o}": 0.7 + 0.4 * k for k, o in enumerate(op.outputs)}
    given = slow(backward, {**values, **weights}, attributes)
    for k, p in enumerate(op.differentiable_inputs):
        low, high = ({**values, p: values[p] + s} for s in (-step, step))
        slope = (slow(op, high, attributes) - slow(op, low, attributes)) / (2 * step)
        assert given[k] == pytest.approx(slope @ np.array(list(weights.values())), rel=1e-6, abs=1e-7), (p, values)
    return weights


def check_twice(op, points, **attributes):
    attributes = {**op.attributes, **attributes}
    backward = derive_backward(op)
    second = derive_backward(backward)
    for values in points:
        weights = check_derivative(op, backward, values, attributes)
        check_derivative(backward, second, {**values, **weights}, attributes)


def check_compiled(op, values, attributes, element=numba.float64):
    """Specialised and compiled, as the engine does it, against un-jitted code."""
    plain = {k: v for k, v in attributes.items() if isinstance(v, str) and k in op.attributes}
    numbers = [attributes[k] for k in op.attributes if k not in plain]
    compiled = numba.njit(error_model="numpy")(source.specialize(op.function, plain, element, scalar=True))
    arguments = [getattr(np, str(element))(values[p]) for p in op.inputs]
    results = compiled(*arguments, *numbers)
    tolerance = 1e-10 if element is numba.float64 else 2e-4
    found = np.array(results, np.float64).reshape(-1)
    np.testing.assert_allclose(found, slow(op, values, attributes), rtol=tolerance, atol=tolerance)
    return compiled


@pytest.mark.parametrize("function", CONSTRUCTS, ids=lambda f: f.__name__)
def test_construct(function):
    op = make(function)
    with np.errstate(all="ignore"):
        check_twice(op, [{"x": x, "y": y} for x, y in POINTS])


def test_calls_of_compiled_functions():
    op = make(calls_njit)
    check_twice(op, [{"x": x, "y": y} for x, y in POINTS[:5]])
    check_compiled(derive_backward(op), {"x": 0.3, "y": 0.8, "d_out": 1.5}, {})


COMPILED = (
    early_return, conditional_whole, while_loop, newton, indexed, counted, swapping_loop, real_powers, general_power, extremes,
)  # fmt: skip


@pytest.mark.parametrize("function", COMPILED, ids=lambda f: f.__name__)
def test_compiled(function):
    second = derive_backward(derive_backward(make(function)))
    check_compiled(second, {"x": 0.3, "y": 0.8, "d_out": 1.5, "d_d_x": 0.6, "d_d_y": -0.4}, {})


def test_single_precision_stays_single():
    backward = derive_backward(make(newton))
    compiled = check_compiled(backward, {"x": 0.3, "y": 0.8, "d_out": 1.5}, {}, numba.float32)
    assert compiled.nopython_signatures[0].return_type == numba.types.UniTuple(numba.float32, 2)


DOMAINS = {"log": (0.2, 3), "log2": (0.2, 3), "log10": (0.2, 3), "log1p": (-0.5, 3), "sqrt": (0.2, 3), "rsqrt": (0.2, 3),
           "acosh": (1.2, 3), "reciprocal": (0.3, 2), "cbrt": (0.2, 3)}  # fmt: skip
NAMED = sorted(set(math.__all__) | {n for n in derive_rules.RULES if any(hasattr(m, n) for m in (libm, np))})


@pytest.mark.parametrize("name", NAMED)
def test_function(name):
    """Every function of graphexec.math, and every rule, twice."""
    function = next(getattr(m, name) for m in (math, np, libm) if hasattr(m, name))
    low, high = DOMAINS.get(name, (-0.9, 0.9))
    rng = np.random.default_rng(3)
    two = name == "pow" or len(derive_rules.RULES[name]) == 2
    namespace = {"f": function}

    def one_argument(x):
        return f(x)  # noqa: F821

    def two_arguments(x, y):
        return f(x, y)  # noqa: F821

    chosen = two_arguments if two else one_argument
    op = ElementwiseOp(name=name, function=with_globals(chosen, namespace), inputs=("x", "y")[: 1 + two])
    check_twice(op, [{"x": rng.uniform(*((0.5, 2) if two else (low, high))), "y": rng.uniform(0.5, 2)} for _ in range(10)])


def test_planted_mistake_is_found(monkeypatch):
    monkeypatch.setitem(derive_rules.RULES, "tanh", ("d * (1 - out)",))
    with pytest.raises(AssertionError):
        check_twice(make(three_modules), [{"x": 0.3, "y": 0.4}])


def with_globals(function, namespace):
    return type(function)(function.__code__, {**globals(), **namespace}, function.__name__)


def test_several_outputs():
    def spread(x, y):
        if x > y:
            return x * y, exp(x)
        return y, 2.0

    op = make(spread, outputs=("low", "high"))
    check_twice(op, [{"x": x, "y": y} for x, y in POINTS])
    backward = derive_backward(op)
    assert backward.inputs == ("d_low", "d_high", "x", "y")
    assert backward.outputs == ("d_x", "d_y")


def test_output_without_slope_among_several():
    """Its delta is not asked for, because nothing is lost without it; and none of several nodes refuses it."""
    from helpers.run import registered  # not where this module is imported by another process

    declared = elementwise(square_and_one, reference=lambda x: (x * x, np.ones_like(x)), domain=(-1, 1), outputs=("square", "one"))
    with registered(declared):
        graph = gx.Graph()
        y = graph.parameter("x", value=np.ones(3, np.float64))
        for _ in range(2):
            square, one = declared.op(y)
            y = square + one
        total = y.sum()
        _, found = gx.compile(graph, loss=total).gradients()
    np.testing.assert_allclose(found["x"], 8 * np.ones(3))  # (x² + 1)² + 1 has the slope 4 x (x² + 1)


def test_outputs_chosen_as_tuples():
    def turned(x, y):
        return (x * y, y) if x > y else (y * y, x)

    check_twice(make(turned, outputs=("a", "b")), [{"x": x, "y": y} for x, y in POINTS[:8]])


def test_attributes():
    def shaped(x, *, beta=1.5, power=2, mode="none"):
        if mode == "tanh":
            t = tanh(beta * x)
        else:
            t = x * beta if mode == "linear" else math.sigmoid(beta * x)
        return t**power

    op = make(shaped)
    backward = derive_backward(op)
    assert dict(backward.attributes) == {"beta": 1.5, "power": 2, "mode": "none"}
    assert backward.function(1.0, 0.5) == backward.function(1.0, 0.5, beta=1.5, power=2, mode="none")
    for mode in ("none", "tanh", "linear"):
        check_twice(op, [{"x": x} for x in (0.2, 0.9)], mode=mode, beta=0.8, power=3)
        check_compiled(backward, {"x": 0.4, "d_out": 1.2}, {"beta": 0.8, "power": 3, "mode": mode})
    unused = derive_backward(make(_scaled))
    assert (unused.inputs, dict(unused.attributes)) == (("d_out",), {"beta": 2.0})


def _scaled(x, y, *, beta=2.0, mode="none"):
    return beta * x


def test_integer_operand_has_no_delta():
    op = make(_repeated, types={"n": "int64"})
    backward = derive_backward(op)
    assert (backward.inputs, backward.outputs, dict(backward.types)) == (("d_out", "x", "n"), ("d_x",), {"n": "int64"})
    assert backward.function(1.0, np.float64(1.1), 3) == pytest.approx(4 * 1.1**3)


def _repeated(x, n):
    t = x
    for _ in range(n):
        t = t * x
    return t


def test_without_any_slope():
    """What has derivative 0 still takes a delta: it gives the shape."""
    def steps(x, y):
        return np.floor(x)

    backward = derive_backward(make(steps))
    assert (backward.inputs, backward.function(3.0)) == (("d_out",), (0.0, 0.0))


@pytest.mark.parametrize(("function", "at", "expected"), [
    (lambda: _absolute, (0.0,), 0.0), (lambda: _absolute, (np.nan,), np.nan),
    (lambda: _absolute, (-np.inf,), -1.0), (lambda: _largest, (1.0, 1.0), (0.5, 0.5)), (lambda: _smallest, (1.0, 1.0), (0.5, 0.5)),
    (lambda: _power, (0.0, 2.0), (0.0, 0.0)), (lambda: _power, (0.0, 1.0), (1.0, 0.0)), (lambda: _power, (0.0, 0.0), (0.0, 0.0)),
    (lambda: _power, (-2.0, 3.0), (12.0, np.nan)),
])  # fmt: skip
def test_edges(function, at, expected):
    backward = derive_backward(make(function()))
    np.testing.assert_array_equal(backward.function(1.0, *np.array(at)), expected)


def _absolute(x):
    return abs(x)


def _largest(x, y):
    return max(x, y)


def _smallest(x, y):
    return min(x, y)


def _power(x, y):
    return math.pow(x, y)


def test_infinite_delta_does_not_meet_zero():
    backward = derive_backward(make(_clipped))
    assert backward.function(np.inf, -1.0) == 0
    assert backward.function(np.inf, 1.0) == np.inf


def _clipped(x):
    return x if x > 0 else 0.0


# -- composition


def test_hand_written_rule_is_derived_again():
    """All that the rule asks for counts as independent: d_out, x and out."""
    swish = elementwise(_swish, reference=np.abs, domain=(-1, 1)).backward(_swish_rule).op
    rule = swish.backward_op
    check_twice(rule, [{"d_out": 0.4, "x": x, "out": o} for x, o in POINTS[:6]], beta=1.3)
    second = derive_backward(rule)
    assert second.name == "_swish.backward.backward"
    assert second.inputs == ("d_d_x", "d_out", "x", "out")
    assert second.outputs == ("d2_d_out", "d2_x", "d2_out")
    assert second.forward is rule


def _swish(x, *, beta=1.0):
    return x * math.sigmoid(beta * x)


def _swish_rule(d_out, x, out, *, beta):
    s = math.sigmoid(beta * x)
    return d_out * (s + beta * out * (1 - s))


def test_names_stay_apart_through_four_derivations():
    op = make(_product)
    for _ in range(4):
        op = derive_backward(op)
        names = [*op.inputs, *op.outputs, *(f"d_{o}" for o in op.outputs)]
        assert len(set(names)) == len(names)
    assert op.name == "_product.backward.backward.backward.backward"


def _product(x, y):
    return x * y * y


# -- what is generated


def test_generated_text():
    """Value and derivatives in one pass, nothing that nobody reads."""
    backward = derive_backward(make(_readable))
    assert inspect.getsource(backward.function) == (
        "def _readable_backward(d_out, x, y, *, beta=1.0):\n"
        "    t2 = exp(beta * x)\n"
        "    e_by_x = beta * t2\n"
        "    e = t2\n"
        "    return (d_out * (e_by_x * y), d_out * e)\n"
    )
    assert backward.function.__code__.co_filename == "<derived _readable.backward>"
    assert source.parse(backward.function) is not None


def _readable(x, y, *, beta=1.0):
    unused = tanh(x) * y
    e = exp(beta * x)
    if unused > 0:
        unused = y
    return e * y


def test_ops_of_one_name_keep_their_own_text():
    def first(x):
        return x * x

    def second(x):
        return 3 * x

    functions = [derive_backward(ElementwiseOp(name="twin", function=f, inputs=("x",))).function for f in (first, second)]
    assert [len(inspect.getsource(f)) for f in functions] == [len(source.ast.unparse(source.parse(f))) + 1 for f in functions]
    assert [f(1.0, *[4.0][: f.__code__.co_argcount - 1]) for f in functions] == [8.0, 3.0]


def test_fingerprint_follows_the_code():
    prints = {fingerprint.of_function(derive_backward(make(f)).function) for f in (arithmetic, newton, _product)}
    assert len(prints) == 3
    assert fingerprint.of_function(derive_backward(make(newton)).function) in prints


def test_text_is_the_same_in_every_process():
    """Sets of names have another order in each; compiled code is kept by a hash of the text."""
    code = ("from tests.autodiff.test_scalar import make, reassigned_operand as f\n"
            "from graphexec.autodiff.scalar import derive_backward as d\n"
            "import inspect; print(inspect.getsource(d(d(make(f))).function))")  # fmt: skip
    root = pathlib.Path(__file__).parents[2]
    runs = [subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=root, check=True,
                           capture_output=True, text=True).stdout for seed in "123"]  # fmt: skip
    assert len(set(runs)) == 1
    assert "reassigned_operand_backward_backward" in runs[0]


def test_fingerprint_sees_helpers():
    def variant(factor):
        @numba.njit
        def helper(a):
            return a * a * factor

        def calling(x):
            return helper(x)

        return fingerprint.of_function(derive_backward(make(calling)).function)

    assert variant(2.0) != variant(3.0)
    assert variant(2.0) == variant(2.0)


# -- what cannot be differentiated


def _with_try(x):
    try:
        return x
    finally:
        pass


def _with_lambda(x):
    return (lambda v: v * v)(x)


def _with_list(x):
    return sum([x * k for k in range(3)])


def _with_walrus(x):
    return (t := x * x) + t


def _with_subscript(x):
    return (x, 2 * x)[1]


def _with_loop(x):
    t = 0.0
    for v in (x, 2 * x):
        t = t + v
    return t


def _with_unknown(x):
    return libm.gamma(x)


def _with_nothing_known(x):
    return undefined_function(x)  # noqa: F821


def _with_recursion(x):
    return recursive(x)


def _with_or(x):
    return x or 1.0


def _with_target(x):
    t = np.zeros(1)
    t[0] = x
    return t[0]


def _with_method(x):
    return x.sum()


def _with_nested(x):
    def inner(v):
        return v * v

    return inner(x)


def _with_tuples(x):
    if x > 0:
        return x, x
    return x


def _with_statement(x):
    print(x)
    return x


def _with_raise(x):
    if x > 0:
        raise ValueError
    return x


@pytest.mark.parametrize(("function", "what"), [
    (_with_try, "try"), (_with_lambda, "lambda"), (_with_list, "a comprehension"), (_with_walrus, "an assignment inside"),
    (_with_subscript, "the subscript `(x, 2 * x)[1]`"), (_with_loop, "a loop over `(x, 2 * x)`"),
    (_with_unknown, "a call of `libm.gamma`, whose derivative"), (_with_nothing_known, "`undefined_function`"),
    (_with_recursion, "`recursive` calls itself"), (_with_or, "`x or 1.0`"), (_with_target, "the assignment to `t[0]`"),
    (_with_method, "`x.sum`"), (_with_nested, "a function inside"), (_with_tuples, "2 values for 1 outputs"),
    (_with_statement, "`print(x)`"), (_with_raise, "raise"),
])  # fmt: skip
def test_refused(function, what):
    with pytest.raises(DifferentiationError) as caught:
        derive_backward(make(function))
    message = str(caught.value)
    assert what in message
    assert message.startswith("op '")
    assert f"{function.__code__.co_filename}:" in message
    assert "@" in caught.value.todo
    line = int(caught.value.source.rpartition(":")[2])
    begin = (recursive if function is _with_recursion else function).__code__.co_firstlineno
    assert begin <= line < begin + 8


def test_refused_without_source():
    namespace = {}
    exec("def unseen(x):\n    return x", namespace)
    with pytest.raises(DifferentiationError, match="without source text"):
        derive_backward(ElementwiseOp(name="unseen", function=namespace["unseen"], inputs=("x",)))


def test_refused_again_names_the_op_to_mend():
    rule = elementwise(_absolute, reference=np.abs, domain=(-1, 1)).backward(_unknown_rule).op.backward_op
    with pytest.raises(DifferentiationError, match=r"@_absolute\.gradient, written in ops"):
        derive_backward(rule)


def _unknown_rule(d_out, x):
    return d_out * libm.gamma(x)
