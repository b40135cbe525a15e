"""Ops that consist of other ops: composites, decompositions, and rules that call them, wherever one may stand in another."""

import re

import numpy as np
import pytest
from helpers.run import registered

import graphexec as gx
from graphexec.errors import OpError, ShapeError
from graphexec.plugin import View, composite, elementwise, kernel, reduction, view

ops = gx.ops


# -- ops


@composite(domain=(-1.0, 1.0))
def doubled(x):
    return ops.add(x, x)


@composite(domain=(-1.0, 1.0))
def quadrupled(x):
    return ops.doubled(ops.doubled(x))


@composite(domain=(-1.0, 1.0))
def product_of(x, y):
    return ops.matmul(ops.tanh(x), y)


@composite(domain=(-1.0, 1.0))
def outer_product_of(x, y):
    return ops.product_of(x, ops.doubled(y))


@composite(domain=(-1.0, 1.0))
def power_of_two(x, *, n=3):
    return ops.power_of_two(ops.square(x), n=n - 1) if n else x


@composite(domain=(-1.0, 1.0))
def without_end(x):
    return ops.without_end_too(x)


@composite(domain=(-1.0, 1.0))
def without_end_too(x):
    return ops.without_end(x)


@kernel("(n)->(n)", reference=lambda x: 4 * x, domain=(0.5, 1.0))
def four_by_kernel(x, out):
    for i in range(x.size):
        out[i] = 4 * x[i]


@four_by_kernel.gradient
def _(d_out):
    return ops.quadrupled(d_out)


@reduction(identity=0.0, reference=lambda x, **k: np.sum(x, **k), domain=(-2.0, 2.0))
def total_of(accumulated, x):
    return accumulated + x


@total_of.gradient
def _(d_out, x, *, axis, keepdims):
    return ops.quadrupled(ops.expand_like(d_out, x, axis=axis, keepdims=keepdims)) * 0.25


@view(reference=lambda x: x[..., ::-1], domain=(-2.0, 2.0))
def turned(v):
    return View(v.shape, (*v.strides[:-1], -v.strides[-1]), v.offset + (v.shape[-1] - 1) * v.strides[-1])


@turned.gradient
def _(d_out):
    return ops.doubled(ops.turned(d_out)) * 0.5


@elementwise(reference=lambda x: x * x, domain=(0.5, 1.0))
def squared_by_rule(x):
    return x * x


@squared_by_rule.gradient
def _(d_out, x):
    return d_out * ops.doubled(x)


def softmax_of_columns(x):
    return np.exp(x) / np.exp(x).sum(axis=-2, keepdims=True)


def dot(x, y):
    return (x * y).sum(axis=-1)


@kernel("(n)->(n)", reference=np.array, domain=(0.5, 1.0), differentiable=False)
def operand_itself(x, out):
    out[:] = x


@operand_itself.decomposition
def _(x):
    return x


@kernel("(n)->(n)", reference=np.array, domain=(0.5, 1.0), differentiable=False)
def recursive(x, out):
    out[:] = x


@recursive.decomposition
def _(x):
    return ops.recursive(x)


@kernel("(n)->(n)", reference=np.array, domain=(0.5, 1.0), differentiable=False)
def by_composite(x, out):
    out[:] = x


@by_composite.decomposition
def _(x):
    return ops.quadrupled(x) * 0.25


@kernel("(n),(n)->()", reference=dot, domain=(0.5, 1.0), differentiable=False)
def vectors_product(x, y, out):
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    out[()] = total


@vectors_product.decomposition
def _(x, y):
    return ops.matmul(x, y) if x.ndim == 1 else ops.sum(x * y, axis=-1)


@kernel("(n),(n)->()", reference=dot, domain=(0.5, 1.0), differentiable=False)
def by_another(x, y, out):
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    out[()] = total


@by_another.decomposition
def _(x, y):
    return ops.vectors_product(x, y)


@kernel("(m,n)->(m,n)", reference=softmax_of_columns, domain=(0.5, 1.0), differentiable=False)
def columns(x, out):
    for j in range(x.shape[1]):
        total = 0.0
        for i in range(x.shape[0]):
            total += np.exp(x[i, j])
        for i in range(x.shape[0]):
            out[i, j] = np.exp(x[i, j]) / total


@columns.decomposition
def _(x):
    return ops.softmax(x, axis=-2)  # a kernel with a decomposition, along an axis that must be moved


@kernel("(n)->(n)", reference=np.array, domain=(0.5, 1.0), differentiable=False)
def sum_of_types(x, out):
    out[:] = x


@sum_of_types.decomposition
def _(x):
    zeros = ops.zeros_like(x)
    ones = ops.cast(zeros + 1.0, dtype="float64")
    return ops.cast(ops.add_n(x * ones, zeros, zeros), dtype=x.dtype)


@kernel("(n)->(n),(n)", reference=lambda x: (2 * x, 2 * x), outputs=("one", "other"), domain=(0.5, 1.0), differentiable=False)
def one_value_twice(x, one, other):
    one[:] = 2 * x
    other[:] = 2 * x


@one_value_twice.decomposition
def _(x):
    y = ops.doubled(x)
    return y, y


COMPOSITES = (doubled, quadrupled, product_of, outer_product_of, power_of_two, without_end, without_end_too)
RULES = {four_by_kernel: 4.0, total_of: 1.0, turned: 1.0, squared_by_rule: None}
DECOMPOSED = (operand_itself, recursive, by_composite, vectors_product, by_another, columns, sum_of_types, one_value_twice)


@pytest.fixture(autouse=True)
def _known():
    with registered(*COMPOSITES, *RULES, *DECOMPOSED):
        yield


# -- rules that call composites


@pytest.mark.parametrize("declaration", RULES, ids=lambda d: d.op.name)
def test_backward_rules_may_call_composites(declaration):
    op = declaration.op
    graph = gx.Graph("rule")
    x = graph.input("x", ("n",), dtype="float64")
    loss = ops.sum(op(x), name="loss")
    graph.output(loss)
    given = np.array([0.5, 0.75, 1.0])
    wanted = np.full(3, RULES[declaration]) if RULES[declaration] else 2 * given
    _, found = gx.compile(graph, loss="loss", wrt=["x"]).gradients(x=given)
    np.testing.assert_allclose(found["x"], wanted, rtol=1e-15)
    derived = gx.compile(gx.differentiate(graph, "loss", wrt=["x"]))(x=given)
    np.testing.assert_allclose(list(derived.values())[1], wanted, rtol=1e-15)
    gx.check_gradient(op)


# -- decompositions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lead", [(), (2,)])
@pytest.mark.parametrize("declaration", DECOMPOSED, ids=lambda d: d.op.name)
def test_decompositions_compute_what_the_kernel_does(declaration, lead, dtype):
    op = declaration.op
    rng = np.random.default_rng(3)
    arrays = [rng.uniform(0.5, 1.0, (*lead, *(3, 4)[: len(axes)])).astype(dtype) for axes in op.core[: len(op.inputs)]]
    wanted = op.evaluate(arrays, {})
    graph = gx.Graph("decomposed")
    made = op(*[graph.input(name, a.shape, dtype=dtype) for name, a in zip(op.inputs, arrays, strict=True)])
    graph.output(*(made if isinstance(made, tuple) else (made,)))
    for optimize in (True, False):
        found = gx.compile(graph, optimize=optimize)(**dict(zip(op.inputs, arrays, strict=True)))
        for a, b in zip(found.values(), wanted, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda x: 3.0, "must return 1 graph value"),
        (lambda x: (x, x), "must return 1 graph value"),
        (lambda x: None, "must return 1 graph value"),
        (lambda x: ops.sum(x), "makes \\(\\) float32, and the kernel \\(4,\\) float32"),
        (lambda x: ops.cast(x, dtype="float64"), "makes \\(4,\\) float64, and the kernel"),
        (lambda x: ops.matmul(x, ops.concat(x, x)), "inner dimensions differ"),
    ],
)
def test_wrong_decompositions_are_refused(returned, words):
    @kernel("(n)->(n)", reference=np.array, domain=(0.5, 1.0), differentiable=False)
    def wrong(x, out):
        out[:] = x

    wrong.decomposition(returned)
    with registered(wrong):
        graph = gx.Graph("wrong")
        graph.output(ops.wrong(graph.input("x", (4,)), name="mine"))
        with pytest.raises(OpError if "inner" not in words else ShapeError, match=f"node 'mine' \\(op 'wrong'.*{words}"):
            gx.compile(graph)(x=np.ones(4, "float32"))


# -- composites


def test_a_composite_may_call_itself():
    graph = gx.Graph("powers")
    graph.output(ops.power_of_two(graph.input("x", ("n",), dtype="float64"), n=3, name="y"))
    assert gx.compile(graph)(x=np.array([1.5]))["y"] == 1.5**8
    assert ops.power_of_two(np.array([1.5]), n=2) == 1.5**4


@pytest.mark.parametrize("call", [lambda x: ops.without_end(x), lambda x: ops.without_end(np.ones(3))], ids=["graph", "arrays"])
def test_a_composite_without_end_is_refused(call):
    graph = gx.Graph("endless")
    x = graph.input("x", ("n",))
    with pytest.raises(OpError, match=r"op 'without_end'\): composite ops are nested too deep") as caught:
        call(x)
    assert len(str(caught.value).splitlines()) < 8
    assert list(graph.dag) == ["x"]


def _first_line(action):
    with pytest.raises(ShapeError) as caught:
        action()
    text = str(caught.value)
    assert "op 'matmul':" in text
    assert re.search(r"a = '.*tanh'   \(3, 4\) float32", text)
    return text.splitlines()[0]


def test_errors_inside_a_composite_name_the_users_node(tmp_path):
    """While the graph is built, without sizes, called on arrays, and read from a file."""
    graph = gx.Graph("wrong")
    x, y = graph.input("x", (3, 4)), graph.input("y", (5, 4))
    start = "node 'mine' (op 'outer_product_of'"
    assert _first_line(lambda: ops.outer_product_of(x, y, name="mine")).startswith(start)
    named = gx.Graph("sizes")
    x, y = named.input("x", (3, 4)), named.input("y", ("k", "n"))
    assert "k is 4 in 'a' and k in 'b'" in _first_line(lambda: ops.outer_product_of(x, y, name="mine"))
    ones = {"x": np.ones((3, 4), "float32"), "y": np.ones((5, 4), "float32")}
    first = _first_line(lambda: ops.outer_product_of(ones["x"], ones["y"]))
    assert first.startswith("node 'outer_product_of' (op 'outer_product_of'")
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "graphexec: 1\ninputs: {x: 'float32[3, 4]', y: 'float32[5, 4]'}\nnodes:\n  mine: outer_product_of(x, y)\noutputs: [mine]\n"
    )
    assert _first_line(lambda: gx.compile(gx.load(path))).startswith(f"{start}, {path}:4)")


# -- references


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (lambda x: x.sum(), "returns an array of shape \\(\\) for output 'out', which is \\(4,\\)"),
        (lambda x: x.nothing, "AttributeError"),
        (lambda x: "text", "ValueError"),
    ],
)
def test_a_reference_that_fails_is_named(reference, words):
    @kernel("(n)->(n)", reference=reference, domain=(0.5, 1.0), differentiable=False)
    def misread(x, out):
        out[:] = x

    with pytest.raises(OpError, match=f"op 'misread': its reference failed: .*{words}"):
        misread.op.evaluate([np.ones(4)], {})
