"""Shapes that NumPy and PyTorch take: scalars, no elements, one axis, one image. Every op of a kind, every shape, every axis."""

import itertools
import warnings

import numpy as np
import pytest

import graphexec as gx
from graphexec.errors import GraphExecError, ShapeError
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op_kinds import ReductionOp
from graphexec.ir.registry import registry

SHAPES = [(), (0,), (1,), (3,), (2, 0), (0, 3), (2, 3), (1, 1, 1), (2, 3, 4)]
OPS = [registry.get(n) for n in registry.names()]
SOFTMAXES = {
    "softmax": lambda e, total: e / total,
    "log_softmax": lambda e, total: np.log(e / total),
}
COMPOSITES = {"mean": np.mean, "variance": np.var, "logsumexp": lambda x, **a: np.log(np.sum(np.exp(x), **a)), "argmax": np.argmax}
REDUCTIONS = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, **COMPOSITES}


def axes_of(ndim):
    """None, every axis from both ends, no axis, every pair of axes, and all of them."""
    pairs = [*itertools.combinations(range(ndim), 2), tuple(range(-ndim, 0))] if ndim > 1 else []
    return [None, *range(-max(ndim, 1), max(ndim, 1)), (), *pairs]


def cases(shape):
    return [{"axis": axis, "keepdims": keep} for axis in axes_of(len(shape)) for keep in (False, True)]


def drawn(shape, dtype="float64"):
    return np.asarray(np.random.default_rng(3).uniform(0.3, 2.9, shape)).astype(dtype)


def by_numpy(function, x, **attributes):
    """What NumPy gives; None where it refuses. A scalar along axis 0 is one element, which np.mean refuses and np.sum does not."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            if x.ndim == 0 and attributes["axis"] in (0, -1):
                attributes["axis"] = None
            return np.asarray(function(x, **attributes))
        except (ValueError, TypeError):
            return None


def compared(op, x, expected):
    """Compares native results with the expected ones, a pair of attributes and a value for each."""
    g = gx.Graph("g")
    value = g.input("x", x.shape, dtype=x.dtype.name)
    g.output(*[op(value, name=f"out{k}", **attributes) for k, (attributes, _) in enumerate(expected)])
    for (attributes, wanted), found in zip(expected, gx.compile(g)(x=x).values(), strict=True):
        assert found.shape == wanted.shape, attributes
        assert found.dtype == wanted.dtype, attributes
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-300, err_msg=str(attributes))


def test_every_reduction_is_tried_here():
    assert {op.name for op in OPS if isinstance(op, ReductionOp) and not op.shape_only} <= {*REDUCTIONS, "supremum"}
    assert {op.name for op in OPS if isinstance(op, KernelOp) and op.is_along_axis} == {*SOFTMAXES, "exclusive_scan"}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_takes_what_numpy_takes(name, shape):
    op, x = registry.get(name), drawn(shape)
    pairs = [(a, by_numpy(REDUCTIONS[name], x, **a)) for a in cases(shape)]
    compared(op, x, [(a, wanted) for a, wanted in pairs if wanted is not None])
    for attributes, wanted in pairs:
        if wanted is None:
            with pytest.raises(GraphExecError):
                op(x, **attributes)


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool"])
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "variance", "argmax"])
def test_reductions_of_integers_have_numpys_types(name, dtype):
    x = drawn((2, 3), dtype)
    compared(registry.get(name), x, [(a, by_numpy(REDUCTIONS[name], x, **a)) for a in cases((2, 3)) if name != "argmax" or
                                     not isinstance(a["axis"], tuple)])  # fmt: skip


def test_a_sum_of_int32_does_not_overflow():
    x = np.full(3, 2**31 - 1, np.int32)
    assert gx.ops.sum(x) == 3 * (2**31 - 1)
    assert gx.ops.sum(np.ones(300, bool)) == 300


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", SOFTMAXES)
def test_a_softmax_runs_along_any_axes(name, shape):
    x = drawn(shape)

    def softmax(x, axis):
        return SOFTMAXES[name](np.exp(x), np.sum(np.exp(x), axis=axis, keepdims=True))

    expected = [({"axis": axis}, by_numpy(softmax, x, axis=axis)) for axis in axes_of(len(shape))]
    compared(registry.get(name), x, [(a, wanted) for a, wanted in expected if wanted is not None])


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "variance", "logsumexp", "softmax", "log_softmax"])
def test_gradients_along_any_axes(name):
    op = registry.get(name)
    for shape, axis in [((), 0), ((), None), ((3,), -1), ((2, 3), None), ((2, 3), ()), ((2, 3, 2), (0, 2)), ((2, 3, 2), (-1, 1))]:
        gx.check_gradient(op, drawn(shape), attributes={"axis": axis})


def test_named_axes_are_reduced_with_their_sizes():
    g = gx.Graph("g")
    x = g.input("x", ("batch", 3, 2), dtype="float64")
    g.output(gx.ops.softmax(x, axis=(0, 2), name="soft"), gx.ops.max(x, axis=0, name="largest"))
    exe = gx.compile(g)
    for batch in (1, 4):
        e = np.exp(drawn((batch, 3, 2)))
        found = exe(x=drawn((batch, 3, 2)))
        np.testing.assert_allclose(found["soft"], e / e.sum(axis=(0, 2), keepdims=True), rtol=1e-12)
    with pytest.raises(ShapeError, match="no max of no elements"):
        exe(x=drawn((0, 3, 2)))


@pytest.mark.parametrize("name", ["max", "min"])
def test_fused_reductions_refuse_no_elements_too(name):
    g = gx.Graph("g")
    x = g.input("x", ("rows", "columns"))
    op = registry.get(name)
    g.output(gx.ops.tanh(x - op(gx.ops.exp(x), axis=1, keepdims=True)), op(gx.ops.exp(x) * 2.0))
    exe = gx.compile(g)
    exe(x=np.ones((2, 3), np.float32))
    with pytest.raises(ShapeError, match=f"no {name} of no elements"):
        exe(x=np.ones((2, 0), np.float32))


# -- products

FIRST = {1: [(3,), (1,), (0,)], 2: [(2, 3), (1, 3), (2, 0)], 3: [(4, 2, 3), (1, 2, 3)], 4: [(5, 4, 2, 3), (5, 1, 2, 3)]}
SECOND = {1: [(3,), (1,), (0,)], 2: [(3, 2), (3, 1), (0, 2)], 3: [(4, 3, 2), (1, 3, 2)], 4: [(5, 4, 3, 2), (1, 4, 3, 2)]}


@pytest.mark.parametrize("ranks", list(itertools.product(FIRST, SECOND)), ids=str)
def test_products_of_all_ranks(ranks):
    for one, two in itertools.product(FIRST[ranks[0]], SECOND[ranks[1]]):
        a, b = drawn(one), drawn(two)
        try:
            wanted = np.matmul(a, b)
        except ValueError:
            with pytest.raises(ShapeError):
                gx.ops.matmul(a, b)
            continue
        found = gx.ops.matmul(a, b)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    gx.check_gradient("matmul", drawn(FIRST[ranks[0]][0]), drawn(SECOND[ranks[1]][0]))


def test_products_of_vectors_in_graphs():
    g = gx.Graph("g")
    x, w = g.input("x", (3,)), g.parameter("w", value=np.ones((3, 2), np.float32))
    v = g.parameter("v", value=np.ones(2, np.float32))
    g.output(gx.ops.square((x @ w) @ v, name="loss"))
    value, gradients = gx.compile(g, loss="loss").gradients(x=np.arange(3, dtype=np.float32))
    assert value == 36.0
    np.testing.assert_array_equal(gradients["w"], 12.0 * np.outer(np.arange(3), np.ones(2)))
    np.testing.assert_array_equal(gradients["v"], [36.0, 36.0])


def test_a_scalar_is_no_factor():
    with pytest.raises(ShapeError, match="at least 1 axes"):
        gx.ops.matmul(drawn(()), drawn((3,)))


@pytest.mark.parametrize(("x", "w"), list(itertools.product([(3,), (4, 3), (2, 4, 3)], [(3,), (2, 3)])), ids=str)
def test_linear_layers_of_all_ranks(x, w):
    x, w, b = drawn(x), drawn(w), drawn(w[:-1])
    np.testing.assert_allclose(gx.ops.linear(x, w, b), x @ w.T + b, rtol=1e-12)
    gx.check_gradient("linear", x, w, b)


# -- one image


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_one_image_gives_what_a_batch_of_one_gives(spatial):
    x, w = drawn((3, *(7, 6, 5)[:spatial])), drawn((4, 3, *(2,) * spatial))
    kernel = (2,) * spatial
    runs = [
        lambda x: gx.ops.conv(x, w, drawn((4,))),
        lambda x: gx.ops.conv(x, w, strides=2, padding=1),
        lambda x: gx.ops.conv(x, w, padding="same"),
        lambda x: gx.ops.max_pool(x, kernel=kernel),
        lambda x: gx.ops.max_pool(x, kernel=kernel, padding=(1,) * spatial, strides=1),
        lambda x: gx.ops.average_pool(x, kernel=kernel),
        lambda x: gx.ops.average_pool(x, kernel=kernel, padding=1, count_include_pad=False),
    ]
    for run in runs:
        np.testing.assert_array_equal(run(x), run(x[None])[0])
    gx.check_gradient("conv", x, w)
    gx.check_gradient("average_pool", x, attributes={"kernel": kernel})


def test_a_kernel_given_as_a_number_pools_all_axes_but_two():
    assert gx.ops.max_pool(drawn((3, 9)), kernel=3).shape == (3, 3)
    assert gx.ops.max_pool(drawn((3, 9, 9)), kernel=3).shape == (3, 9, 3)
    assert gx.ops.max_pool(drawn((3, 9, 9)), kernel=(3, 3)).shape == (3, 3, 3)
    with pytest.raises(ShapeError, match="or one image"):
        gx.ops.max_pool(drawn((9,)), kernel=(3, 3))
