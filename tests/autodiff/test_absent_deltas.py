"""Deltas that do not exist, or that nobody asked for, are neither computed nor multiplied: 0 * NaN never happens."""

import inspect

import numpy as np
import pytest
from helpers.run import registered

import graphexec as gx
from graphexec import math
from graphexec.autodiff.scalar.partials import partial
from graphexec.interpret import interpret_gradients
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.registry import registry
from graphexec.plugin import elementwise, kernel, ops


def pair_of(x):
    return x * x, math.log(x)


def _reference(x):
    with np.errstate(all="ignore"):
        return x * x, np.log(x)


def derived():
    return elementwise(pair_of, reference=_reference, outputs=("square", "log"))


def by_hand():
    def rule(d_square, d_log, x):
        return 2 * d_square * x + d_log / x

    return elementwise(pair_of, reference=_reference, outputs=("square", "log")).backward(rule)


def in_ops():
    def rule(d_square, d_log, x):
        return 2.0 * d_square * x - -(d_log / x) + ops.where(ops.less(x, 0.0), d_log * ops.log(x), 0.0 * d_square)

    return elementwise(pair_of, reference=_reference, outputs=("square", "log")).gradient(rule)


def array_in_ops():
    @kernel("(n)->(n),(n)", reference=_reference)
    def pair_of(x, square, log):
        for i in range(x.size):
            square[i] = x[i] * x[i]
            log[i] = math.log(x[i])

    def rule(d_square, d_log, x):
        return 2.0 * d_square * x + ops.broadcast_like(ops.sum(d_log, axis=-1, keepdims=True), x) / x

    return pair_of.gradient(rule)


@pytest.mark.parametrize("make", [derived, by_hand, in_ops, array_in_ops])
def test_an_output_that_nobody_reads(make):
    """log has a pole at 0 and no value below; the square does not care."""
    with registered(make()):
        graph = gx.Graph()
        x = graph.parameter("x", value=np.array([-1.0, 0.0, 2.0]))
        square, _ = gx.ops.pair_of(x)
        loss = gx.ops.sum(square, name="loss")
        graph.output(loss)
        _, found = gx.compile(graph, loss=loss).gradients()
        np.testing.assert_array_equal(found["x"], [-2, 0, 4])
        _, plain, _ = interpret_gradients(graph, "loss", ["x"])
        np.testing.assert_array_equal(plain["x"], [-2, 0, 4])


def higher(of, at, orders, wrt="x"):
    """The derivatives of a function of a value, by a chain of `differentiate`."""
    graph = gx.Graph()
    value, found = of(graph.input(wrt, (len(at),), "float64")), []
    for k in range(orders):
        graph.output(gx.ops.sum(value, name=f"sum_{k}"))
        graph = gx.differentiate(graph, f"sum_{k}", [wrt])
        found.append(graph.dag.graph["gradients"][wrt])
        value = graph[found[-1]]
    graph.dag.graph["outputs"] = list(found)
    results = gx.compile(graph)(**{wrt: np.array(at, "float64")})
    return [results[name] for name in found]


def test_powers_of_negative_numbers():
    """The derivative by the exponent is log(x): it has no value here, and nobody asked for it."""
    first, second, third = higher(lambda x: x**2, [-2, -1, 0, 3], 3)
    np.testing.assert_array_equal(first, [-4, -2, 0, 6])
    np.testing.assert_array_equal(second, [2, 2, 2, 2])
    np.testing.assert_array_equal(third, [0, 0, 0, 0])
    assert [list(d) for d in higher(lambda x: x**4, [-1.0, 0.0, 2.0], 5)] == [
        [-4, 0, 32], [12, 0, 48], [-24, 0, 48], [24, 24, 24], [0, 0, 0],
    ]  # fmt: skip


def xlogy(x, y):
    return x * math.log(y) + x * x


def test_a_derived_rule_computes_what_is_asked():
    with registered(elementwise(xlogy, reference=lambda x, y: x * np.log(y) + x * x, domain=(0.5, 2.0))):
        first, second = higher(lambda x: gx.ops.xlogy(x, 3.0), [-1.0, 2.0], 2)
        np.testing.assert_allclose(first, np.log(3) + 2 * np.array([-1, 2]), rtol=1e-6)
        np.testing.assert_array_equal(second, [2, 2])
        first, second = higher(lambda y: gx.ops.xlogy(0.0, y), [0.0, -1.0], 2, wrt="y")  # 0 * log(y) is NaN, its slope 0 / y
        np.testing.assert_array_equal(first, [np.nan, 0])


FLAT = {
    "floor": ops.floor, "sign": ops.sign, "greater": lambda x: ops.cast(ops.greater(x, 0.0), dtype="float64"),
    "stop_gradient": ops.stop_gradient, "zeros": ops.zeros_like,
}  # fmt: skip


@pytest.mark.parametrize("name", FLAT)
def test_a_derivative_that_is_zero_is_zero(name):
    assert [list(d) for d in higher(FLAT[name], [-1.5, 0.0, 2.0], 2)] == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", ["relu", "abs", "leaky_relu", "clip", "maximum", "square", "negate"])
def test_an_op_in_pieces_of_degree_one_or_two(name):
    op = {"clip": lambda x: ops.clip(x, low=-1.0, high=1.0), "maximum": lambda x: ops.maximum(x, 0.5)}.get(name, getattr(ops, name))
    last = higher(op, [-1.5, 0.25, 2.0], 3)[-1]
    np.testing.assert_array_equal(last, [0, 0, 0])


def test_a_parameter_that_the_loss_does_not_reach():
    graph = gx.Graph()
    x, w = graph.parameter("x", value=np.ones((2, 3))), graph.parameter("w", value=np.ones(4))
    loss = gx.ops.sum(ops.floor(x), name="loss")
    graph.output(loss)
    _, found = gx.compile(graph, loss=loss, wrt=["x", "w"]).gradients()
    assert [found[n].shape for n in ("x", "w")] == [(2, 3), (4,)]
    assert not np.any(found["x"])
    assert not np.any(found["w"])
    with pytest.raises(gx.errors.DifferentiationError, match="does not depend on any parameter"):
        gx.compile(graph, loss=loss, optimizer=gx.SGD(lr=0.1))
    assert w is not None


def doubled(x):
    return 2 * x


def _clipping(d_out):
    return min(max(2 * d_out, -1.0), 1.0)


def test_a_rule_that_is_not_linear_is_differentiated_as_it_is_written():
    declared = elementwise(doubled, reference=lambda x: 2 * x, domain=(-1.0, 1.0)).backward(_clipping)
    with registered(declared):
        first, second = higher(lambda x: gx.ops.doubled(x * x), [0.1, 3.0], 2)  # the delta of x * x is clipped to 1
        np.testing.assert_allclose(first, [0.2, 6.0])
        np.testing.assert_allclose(second, [2, 2])


def test_gradients_of_a_concatenation_of_a_named_axis():
    """The text of a sum of sizes stays short, so memory is linear in the number of parts."""
    graph = gx.Graph()
    x, p = graph.input("x", ("batch", 2)), graph.parameter("p", value=np.ones(2, "float32"))
    joined = ops.concat(*[x * p for _ in range(300)], axis=0)
    assert joined.shape[0] == "300*batch"
    loss = gx.ops.sum(joined, name="loss")
    graph.output(loss)
    _, found = gx.compile(graph, loss=loss).gradients(x=np.ones((4, 2), "float32"))
    np.testing.assert_array_equal(found["p"], [1200, 1200])


def inner(x, k):
    return x * math.exp(k * x)


def helped(x, y):
    return inner(x, 2.0) * inner(x + y, 3.0)


def quotient_of_logs(x, y):
    return math.log(x * x + y * y) / (1 + math.exp(-x * y))


def in_branches(x):
    if x > 0:
        t = math.tanh(x)
        return t * x
    return math.exp(x) * math.sin(x)


def in_a_loop(x):
    for k in range(5):
        x = x * x + math.sin(x / (k + 1))
    return x


def mish(x):
    return x * math.tanh(math.softplus(x))


def fourth(x):
    return x**4


PLUGINS = [helped, quotient_of_logs, in_branches, in_a_loop, mish, fourth, xlogy]


def differentiable():
    registered_ops = [registry.get(name) for name in registry.names()]
    for op in (*registered_ops, *(elementwise(f, reference=f, domain=(0.5, 2.0)).op for f in PLUGINS)):
        if isinstance(op, ElementwiseOp) and op.differentiable and not op.variadic and not op.updates and "f" in op.kinds:
            yield from (pytest.param(op, x, id=f"{op.name}-{x}") for x in op.differentiable_inputs)


@pytest.mark.parametrize(("op", "x"), list(differentiable()))
def test_code_grows_slowly_with_the_order(op, x):
    """Ten orders; the text of the tenth is some kilobytes: a polynomial of the order, where a tree would double with each."""
    orders = [partial(op, op.outputs[0], [x] * n) for n in range(1, 11)]
    sizes = [0 if p is None else len(inspect.getsource(p.function)) for p in orders]
    assert sizes[9] < 8_000 or op.name in ("quotient_of_logs", "in_a_loop")
    assert sizes[9] < 60_000
    assert sizes[9] <= 2**3.9 * max(sizes[4], 100)
    if orders[9] is not None and op.name in registry.names():
        assert registry.get(f"{op.name}.d_{op.outputs[0]}.{'.'.join([x] * 10)}") is orders[9]


@pytest.mark.parametrize("function", PLUGINS, ids=lambda f: f.__name__)
def test_derivatives_of_functions_with_helpers_branches_and_loops(function):
    """Orders 2 to 4, by finite differences of the order before."""
    op = elementwise(function, reference=function, domain=(0.5, 2.0)).op
    operands = [np.float64(v) for v in (0.7, 1.3)[: len(op.inputs)]]
    step = 1e-6
    for x in range(len(operands)):
        name = op.inputs[x]
        for n in (2, 3, 4):
            before, this = (partial(op, "out", [name] * k) for k in (n - 1, n))
            shifted = [[v + (k == x) * s for k, v in enumerate(operands)] for s in (-step, step)]
            low, high = ((value(op, before, at) if before is not None else 0.0) for at in shifted)
            found = 0.0 if this is None else value(op, this, operands)
            np.testing.assert_allclose(found, (high - low) / (2 * step), rtol=2e-6, atol=1e-6)


def value(op, derivative, operands):
    """A derivative as plain Python."""
    known = {"d_out": np.float64(1.0), "out": op.function(*operands), **dict(zip(op.inputs, operands, strict=True))}
    return derivative.function(*(known[n] for n in derivative.inputs))


def test_a_loop_of_unknown_length_is_differentiated_as_a_loop():
    def squarings(x, *, times=3):
        for _ in range(times):
            x = x * x
        return x

    op = elementwise(squarings, reference=squarings, domain=(0.5, 2.0)).op
    assert value(op, partial(op, "out", ["x", "x"]), [np.float64(1.5)]) == pytest.approx(56 * 1.5**6)


def test_a_graph_with_higher_derivatives_survives_a_file(tmp_path):
    graph = gx.Graph()
    x = graph.input("x", (3,), "float64")
    graph.output(gx.ops.sum(ops.tanh(x) ** 3, name="loss"))
    first = gx.differentiate(graph, "loss", ["x"])
    name = first.dag.graph["gradients"]["x"]
    gx.ops.sum(first[name], name="again")
    second = gx.differentiate(first, "again", ["x"])
    second.save(tmp_path / "second.json")
    loaded = gx.load(tmp_path / "second.json")
    at = np.array([-0.3, 0.1, 0.8])
    a, b = gx.compile(second)(x=at), gx.compile(loaded)(x=at)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[k], b[k]) for k in a)
