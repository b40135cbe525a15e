"""Sums of many numbers: every op that sums, against math.fsum, on data that a running sum of one type gets wrong.

`SUMS` has an entry for each op of the registry that adds many elements; `test_no_reduction_is_missing` walks the registry.
"""

import math

import numpy as np
import pytest
from helpers.run import native

import graphexec as gx
from graphexec.ir.op_kinds import ReductionOp
from graphexec.ir.registry import registry
from graphexec.plugin import ops, reduction

BOUND = {"float32": 1e-6, "float64": 2e-15}
"""Relative error: a few roundings, however many elements there are."""


def fsum(x):
    return math.fsum(np.asarray(x, np.float64).ravel().tolist())


def repeated(n, dtype):
    """Each addition rounds in the same direction."""
    return np.full(n, 0.1, dtype)


def one_and_many_small(n, dtype):
    """A running sum loses every small one."""
    x = np.full(n, np.finfo(dtype).eps / 4, dtype)
    x[0] = 1
    return x


def large_and_small(n, dtype):
    return np.tile(np.array([1e4, 1e-3], dtype), -(-n // 2))[:n]


def uniform(n, dtype):
    return np.random.default_rng(1).random(n).astype(dtype)


DATA = [repeated, one_and_many_small, large_and_small, uniform]
LAYOUTS = {  # how n elements are laid out, and the axes of the sum
    "all": (lambda n: (n,), None),
    "last": (lambda n: (2, n // 2), -1),
    "first": (lambda n: (n // 4, 4), 0),
    "first wide": (lambda n: (n // 96, 96), 0),
    "middle": (lambda n: (2, n // 6, 3), 1),
    "several": (lambda n: (n // 24, 3, 8), (0, 2)),
    "column": (lambda n: (n, 1), 0),
}


def expected(x, axis, of=fsum):
    """``of`` the elements along axes, which are removed."""
    if axis is None:
        return np.float64(of(x))
    axes = (axis,) if isinstance(axis, int) else axis
    rows = np.moveaxis(x, axes, range(-len(axes), 0))
    rows = rows.reshape(*rows.shape[: rows.ndim - len(axes)], -1)
    return np.apply_along_axis(of, -1, rows)


def check(found, wanted, dtype, scale=1.0):
    """Within the bound, relative to what is wanted."""
    np.testing.assert_allclose(np.asarray(found, np.float64), wanted, rtol=scale * BOUND[dtype], atol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("make", DATA)
def test_sum(make, dtype, layout):
    shape, axis = LAYOUTS[layout]
    x = make(192_000, dtype)
    x = x[: math.prod(shape(x.size))].reshape(shape(x.size))
    check(ops.sum(x, axis=axis), expected(x, axis), dtype)
    fused = ops.mean(ops.square(x), axis=axis)
    check(fused, expected(np.square(x), axis) / (x.size / np.size(fused)), dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_variance_and_norm(layout):
    shape, axis = LAYOUTS[layout]
    x = uniform(math.prod(shape(96_000)), "float32").reshape(shape(96_000))

    def spread(row):
        row = np.asarray(row, np.float64)
        return fsum(np.square(row - fsum(row) / row.size)) / row.size

    check(ops.variance(x, axis=axis), expected(x, axis, spread), "float32")
    check(ops.sqrt(ops.sum(ops.square(x), axis=axis)), np.sqrt(expected(np.square(x, dtype=np.float64), axis)), "float32")


@pytest.mark.parametrize("value", [0.1, 1 / 3, 7.7, 1000.3])
@pytest.mark.parametrize("shape", [(10,), (1000, 3), (200_003,)])
def test_the_variance_of_a_constant_is_zero(shape, value):
    for axis in (None, 0):
        np.testing.assert_array_equal(ops.variance(np.full(shape, value, np.float32), axis=axis), 0)


def _loss(n, **attributes):
    x = uniform(n, "float32").reshape(-1, 4)
    return [x, np.zeros_like(x)], attributes, fsum(np.square(x.astype(np.float64)))


def _softmax(n):
    x = uniform(n, "float32")
    e = np.exp(x.astype(np.float64) - x.max())
    return x, e, fsum(e)


def sum_case(n):
    x = repeated(n, "float32")
    return ops.sum(x), fsum(x)


def sum_to_case(n):
    x = repeated(n, "float32").reshape(-1, 10)
    return ops.sum_to(x, np.zeros(10, np.float32)), np.full(10, fsum(x) / 10)


def mean_case(n):
    x = repeated(n, "float32").reshape(-1, 4)
    return ops.mean(x, axis=0), expected(x, 0) / len(x)


def variance_case(n):
    x = uniform(n, "float32")
    return ops.variance(x), np.var(x.astype(np.float64))


def prod_case(n):
    x = np.where(np.arange(n) // 64 % 2, 2, 0.5).astype(np.float32)
    return ops.prod(x), 2.0 ** fsum(np.log2(x))


def softmax_case(n):
    x, e, total = _softmax(n)
    return ops.softmax(x), e / total


def log_softmax_case(n):
    x, _, total = _softmax(n)
    return ops.log_softmax(x), x.astype(np.float64) - x.max() - np.log(total)


def logsumexp_case(n):
    x, _, total = _softmax(n)
    return ops.logsumexp(x), x.max() + np.log(total)


def softmax_cross_entropy_case(n):
    logits = uniform(n, "float32").reshape(-1, 2)
    labels = np.zeros(len(logits), np.int32)
    x = logits.astype(np.float64)
    return ops.softmax_cross_entropy(logits, labels), fsum(np.log1p(np.exp(x[:, 1] - x[:, 0]))) / len(x)


def binary_cross_entropy_with_logits_case(n):
    z = uniform(n, "float32")
    return ops.binary_cross_entropy_with_logits(z, np.ones_like(z)), fsum(np.log1p(np.exp(-z.astype(np.float64)))) / n


def mse_case(n):
    (z, y), _, total = _loss(n)
    return ops.mse(z, y), total / len(z)


def half_squared_error_case(n):
    (z, y), _, total = _loss(n)
    return ops.half_squared_error(z, y), total / 2


def reduce_loss_case(n):
    x = repeated(n, "float32")
    return ops.reduce_loss(x), fsum(x) / n


def accuracy_case(n):
    return ops.accuracy(np.ones((n, 1), np.float32), np.ones((n, 1), np.float32)), 1.0


def scatter_add_case(n):
    x = repeated(n, "float32").reshape(-1, 2)
    found = ops.scatter_add(x, np.where(np.arange(len(x)) % 4, 1, 5), np.zeros((6, 2), np.float32))
    wanted = np.zeros((6, 2))
    wanted[1], wanted[5] = fsum(x[1:4, 0]) * len(x) / 12, fsum(x[:1, 0]) * len(x) / 4
    return found[[1, 5]], wanted[[1, 5]] * np.array([[3.0], [1.0]])


CASES = [value for name, value in list(globals().items()) if name.endswith("_case")]
EXACT = {"max", "min", "supremum"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_an_op_that_sums(case):
    found, wanted = case(240_000)
    check(found, wanted, "float32")


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_an_op_that_sums_ten_million(case):
    found, wanted = case(9_999_960)
    check(found, wanted, "float32")


def test_no_reduction_is_missing():
    builtin = {name for name in registry.names() if isinstance(registry.get(name), ReductionOp)}
    covered = {case.__name__.removesuffix("_case") for case in CASES}
    assert builtin - EXACT <= covered
    assert {name for name in builtin if registry.get(name).exact} == EXACT


@pytest.mark.exhaustive
def test_the_examples():
    n = 2 * 10**7
    ones = np.ones(n, np.float32)
    assert ops.sum(ones) == n
    assert (ops.mean(np.ones((n, 4), np.float32), axis=0) == 1).all()
    assert ops.scatter_add(ones, np.zeros(n, np.int32), np.zeros(3, np.float32)).tolist() == [n, 0, 0]
    tenths = np.full((5_000_000, 2), 0.1, np.float32)
    check(ops.sum(tenths), 1e7 * float(tenths[0, 0]), "float32")
    check(ops.sum_to(tenths, np.zeros(2, np.float32)), np.full(2, 5e6 * float(tenths[0, 0])), "float32")


# -- the same bits in every way


@pytest.mark.parametrize("shape", [(100_000,), (70, 3_000), (3_000, 70), (40, 50, 60)])
def test_bits_do_not_depend_on_threads(shape):
    x = uniform(math.prod(shape), "float32").reshape(shape)
    found = []
    for threads in (1, 2, 3):
        g = gx.Graph()
        v = g.input("x", shape)
        for axis in (None, *range(len(shape))):
            g.output(ops.sum(ops.square(v), axis=axis), ops.softmax(v, axis=axis or 0), ops.variance(v, axis=axis))
        exe = gx.compile(g, threads=threads)
        found.append({name: a.tobytes() for name, a in exe(x=x).items()})
    assert found[0] == found[1] == found[2]


def test_a_named_axis_gives_the_bits_of_a_declared_one():
    x = uniform(300_000, "float32").reshape(-1, 30)
    g = gx.Graph()
    g.output(ops.sum(g.input("a", x.shape), axis=0, name="declared"), ops.sum(g.input("b", ("rows", 30)), axis=0, name="named"))
    found = gx.compile(g)(a=x, b=x)
    assert found["declared"].tobytes() == found["named"].tobytes()


def test_few_elements_are_one_block():
    """The order of up to 32 elements a lane is that of a running sum."""
    x = uniform(32 * 5, "float32").reshape(32, 5)
    running = np.zeros(5, np.float32)
    for row in x:
        running += row
    assert ops.sum(x, axis=0).tobytes() == running.tobytes()


def test_empty_and_infinite():
    assert ops.sum(np.zeros((0, 3), np.float32), axis=0).tolist() == [0, 0, 0]
    x = np.ones(100_000, np.float32)
    x[70_000] = np.inf
    assert ops.sum(x) == np.inf
    hits = np.zeros(x.size, np.int32)
    assert ops.scatter_add(x, hits, np.zeros(1, np.float32)).tolist() == [np.inf]
    x[5] = -np.inf
    assert np.isnan(ops.sum(x))
    assert np.isnan(ops.scatter_add(x, hits, np.zeros(1, np.float32))).all()
    assert np.isnan(ops.variance(np.zeros(0, np.float32)))


def test_integers_wrap_as_before():
    x = np.full(100_001, 2**40 + 1)
    assert ops.sum(x) == x.sum()


def test_a_plugin_of_your_own():
    """A reduction that rounds is a cascade whatever it computes; one that declares itself exact is not."""

    @reduction(identity=0.0, reference=np.sum)
    def hypotenuse_sum(accumulated, x):
        return accumulated + x

    x = repeated(300_000, "float32")
    check(native(hypotenuse_sum.op, [x], {"axis": None, "keepdims": False})[0], fsum(x), "float32")
    assert hypotenuse_sum.op.rounds("float32")
    assert not hypotenuse_sum.op.rounds("int64")


@pytest.mark.parametrize("optimize", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_with_and_without_fusion(optimize):
    x = repeated(300_000, "float32").reshape(-1, 3)
    g = gx.Graph()
    v = g.input("x", x.shape)
    g.output(ops.sqrt(ops.sum(v * v), name="norm"), ops.softmax(v, axis=0, name="softmax"))
    found = gx.compile(g, optimize=optimize)(x=x)
    check(found["norm"], math.sqrt(fsum(np.square(x.astype(np.float64)))), "float32")
    check(found["softmax"], np.full(x.shape, 1 / len(x)), "float32")


def test_bias_gradients():
    rows = 100_000
    g = gx.Graph()
    x = g.input("x", ("rows", 2))
    b = g.parameter("b", (2,), init="zeros")
    w = g.parameter("w", (2, 2), init="zeros")
    g.output(ops.sum(ops.linear(x, w, b) * 0.1, name="loss"))
    exe = gx.compile(g, loss="loss")
    _, found = exe.gradients(x=np.ones((rows, 2), np.float32))
    check(found["b"], np.full(2, rows * float(np.float32(0.1))), "float32")


