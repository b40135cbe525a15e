"""cse: what is computed twice is computed once, on tiny graphs."""

import numpy as np
import pytest
from helpers.compare import assert_close
from helpers.run import differentiated, registered

import graphexec as gx
from graphexec import math
from graphexec.interpret import interpret_gradients
from graphexec.ir.keys import freeze
from graphexec.ir.spec import Size
from graphexec.plugin import elementwise
from graphexec.rewrite.simplify.cse import cse

ops = gx.ops


def lines(fn):
    """A line for each node: ``y = multiply(x, c)``."""
    return [f"{n.name} = {n.op.name}({', '.join(fn.names[v] for v in n.inputs)})" for n in fn.nodes]


def test_the_same_op_on_the_same_operands_is_computed_once(prepared, agrees, rng):
    g = gx.Graph("twice")
    x, y = g.input("x", (3,), "float64"), g.input("y", (3,), "float64")
    first, second = ops.tanh(x * y, name="first"), ops.tanh(x * y, name="second")
    g.output(ops.subtract(first, second * first, name="z"))
    fn = cse(prepared(g))
    assert lines(fn) == ["multiply = multiply(x, y)", "first = tanh(multiply)", "multiply_2 = multiply(first, first)",
                            "z = subtract(first, multiply_2)"]  # fmt: skip
    agrees(g, fn, {"x": rng.standard_normal(3), "y": rng.standard_normal(3)})


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (lambda x, y: [ops.add(x, y), ops.add(y, x)], 1),
        (lambda x, y: [ops.multiply(x, y), ops.multiply(y, x)], 1),
        (lambda x, y: [ops.subtract(x, y), ops.subtract(y, x)], 2),
        (lambda x, y: [ops.maximum(x, y), ops.maximum(y, x)], 2),  # 0.0 and -0.0 are equal, and the first is taken
        (lambda x, y: [ops.clip(x, low=0.5), ops.clip(x, low=0.5)], 1),
        (lambda x, y: [ops.clip(x, low=0.0), ops.clip(x, low=-0.0)], 2),
        (lambda x, y: [ops.clip(x, low=1.0), ops.clip(x, high=1.0)], 2),
        (lambda x, y: [ops.sum(x, axis=0), ops.sum(x, axis=-1)], 2),
        (lambda x, y: [ops.sum(x, axis=(0,)), ops.sum(x, axis=0)], 2),
        (lambda x, y: [ops.reshape(x, shape=("n", 1)), ops.reshape(x, shape=("n", 1))], 1),
        (lambda x, y: [ops.multiply(x, 2.0), ops.multiply(x, 2.0)], 1),
        (lambda x, y: [ops.multiply(x, 0.0), ops.multiply(x, -0.0)], 2),
        (lambda x, y: [ops.multiply(x, x.graph.constant(2.0, dtype=d)) for d in ("float32", "float64")], 2),
    ],
)
def test_what_is_the_same(prepared, build, count):
    g = gx.Graph("pair")
    g.output(*build(g.input("x", ("n",), "float64"), g.input("y", ("n",), "float64")))
    fn = cse(prepared(g))
    assert len(fn.nodes) == count
    assert len(set(fn.outputs.values())) == count
    assert len(fn.outputs) == 2


def test_an_attribute_of_minus_zero_is_another():
    """For kernels and fused ones too: what differs in nothing else is not the same."""
    g = gx.Graph("zeros")
    x = g.input("x", (3,), "float64")
    for name, alpha in (("plus", 0.0), ("minus", -0.0)):
        g.output(ops.leaky_relu(x, alpha=alpha, name=name), ops.sin(ops.leaky_relu(x, alpha=alpha), name=f"fused_{name}"))
    for options in ({}, {"optimize": False}):
        out = gx.compile(g, **options)(x=[-1.0, -2.0, 3.0])
        for prefix in ("", "fused_"):
            assert np.signbit(out[prefix + "plus"]).tolist() == [True, True, False], (prefix, options)
            assert np.signbit(out[prefix + "minus"]).tolist() == [False, False, False], (prefix, options)


def test_attributes_that_are_equal_numbers_are_told_apart():
    values = [1, 1.0, True, 0.0, -0.0, (1,), (1.0,), (0.0,), (-0.0,), ((0.0,),), ((-0.0,),), None, "1", Size(1, "n"), Size(1, "m")]
    assert len({freeze({"a": value}) for value in values}) == len(values)
    assert freeze({"a": float("nan")}) == freeze({"a": float("nan")})


@elementwise(reference=lambda x: (np.sin(x), np.cos(x)), domain=(-2.0, 2.0), outputs=("s", "c"), differentiable=False)
def both(x):
    return math.sin(x), math.cos(x)


def test_nodes_of_several_outputs(prepared):
    """Each output takes the place of its like."""
    g = gx.Graph("circle")
    x = g.input("x", (4, 3), "float64")
    with registered(both):
        pairs = [both(x) for _ in range(2)]
        g.output(ops.sum(pairs[0][0] * pairs[1][0], name="a"), ops.sum(pairs[0][1] * pairs[1][1], name="b"))
        fn = cse(prepared(g))
    assert [n.op.name for n in fn.nodes] == ["both", "multiply", "sum", "multiply", "sum"]
    assert all(n.inputs[0] == n.inputs[1] for n in fn.nodes if n.op.name == "multiply")


def test_a_kept_value_keeps_its_number(prepared):
    g = gx.Graph("kept")
    x = g.input("x", (3,))
    g.output(ops.add(ops.sin(x, name="first"), ops.sin(x, name="second")), ops.sin(x, name="third"))
    fn = prepared(g)
    kept = cse(fn, [fn.value_id("second")])
    assert lines(kept) == ["first = sin(x)", "second = sin(x)", "add = add(first, second)"]


def test_a_weight_is_transposed_once(prepared):
    """In the backward pass each product transposes its factors again."""
    g = gx.Graph("deep")
    z, w = g.input("z", (5, 4)), g.parameter("w", (4, 4))
    for _ in range(6):
        z = ops.tanh(z @ w)
    g.output(ops.sum(z, name="loss"))
    fn = prepared(g)
    fn = differentiated(fn, "w")

    def moved(fn):
        return sum(n.op.name == "swap_axes" and fn.names[n.inputs[0]] == "w" for n in fn.nodes)

    assert moved(fn) == 6
    assert moved(cse(fn)) == 1


# -- updates


def test_what_is_read_before_and_after_an_update_differs(prepared):
    g = gx.Graph("between")
    w, d = g.parameter("w", (2,)), g.input("d", (2,))
    before = [ops.sin(w, name="a"), ops.sin(w, name="b"), ops.transpose(w, name="t")]
    ops.sgd(w, d, name="step")
    after = [ops.sin(w, name="c"), ops.sin(ops.transpose(w, name="u"), name="e"), ops.sin(d, name="f"), ops.sin(d, name="h")]
    g.output(*before, *after)
    assert [line.partition(" ")[0] for line in lines(cse(prepared(g)))] == ["a", "t", "step", "c", "u", "e", "f"]


def test_two_sums_that_start_alike_are_two():
    """Each update writes over memory that is made for it."""
    g = gx.Graph("sums")
    x = g.input("x", (2,), "float64")
    starts = [ops.copy(ops.square(x)) for _ in range(2)]
    g.output(*(ops.sgd(start, ops.multiply(x, k), lr=1.0, name=f"s{k}") for k, start in enumerate(starts, 1)))
    for options in ({}, {"skip_passes": "fuse"}, {"optimize": False}):
        exe = gx.compile(g, **options)
        for _ in range(2):
            out = exe(x=[3.0, 5.0])
            assert (out["s1"].tolist(), out["s2"].tolist()) == ([6.0, 20.0], [3.0, 15.0]), options


def test_constants_that_are_written_over_are_not_merged(prepared):
    g = gx.Graph("counters")
    one, two, three = (g.constant(np.ones(2), name) for name in ("one", "two", "three"))
    g.output(ops.sgd(one, two), ops.sin(three, name="s"), ops.sin(one, name="t"))
    fn = cse(prepared(g))
    assert [leaf.name for leaf in fn.leaves] == ["one", "two"]
    assert lines(fn) == ["sgd = sgd(one, two)", "s = sin(two)", "t = sin(one)"]


def test_updates_are_never_merged(prepared):
    g = gx.Graph("updates")
    w, d = g.parameter("w", (2,)), g.input("d", (2,))
    g.output(ops.sgd(w, d, name="first"), ops.sgd(w, d, name="second"))
    assert len(cse(prepared(g)).nodes) == 2


# -- two names of one value, from end to end


def twins():
    """a and b are equal; both are outputs, the loss reads both, each in its way."""
    g = gx.Graph("twins")
    x, w = g.input("x", ("rows", 3), "float64"), g.parameter("w", value=np.arange(12.0).reshape(3, 4) / 10)
    a, b = ops.tanh(x @ w, name="a"), ops.tanh(x @ w, name="b")
    g.output(a, b, ops.sum(a * 2.0 + ops.square(b), name="loss"))
    return g


@pytest.mark.parametrize("options", [{}, {"skip_passes": "cse"}, {"optimize": False}], ids=["all", "unmerged", "plain"])
def test_two_names_of_one_value(rng, tmp_path, options):
    x = rng.standard_normal((5, 3))
    _, gradients, deltas = interpret_gradients(twins(), "loss", ["w", "a", "b", "x"], {"x": x})
    exe = gx.compile(twins(), loss="loss", wrt=["w", "a", "b", "x"], keep_deltas=True, **options)
    out = exe(x=x)
    np.testing.assert_array_equal(out["a"], out["b"])
    assert not np.shares_memory(out["a"], out["b"])
    out["a"][...] = 0.0  # theirs to change
    _, found = exe.gradients(x=x)
    assert found.keys() == gradients.keys()
    for name, array in gradients.items():
        assert_close(found[name], array, name)
    assert set(exe.deltas) == set(deltas)
    for name, array in deltas.items():
        assert_close(exe.deltas[name], array, f"delta of {name}")
    assert not np.allclose(exe.deltas["a"], exe.deltas["b"])  # equal values, each with its own delta
    exe.program.check()
    exe.save(tmp_path / "w.safetensors")
    other = gx.compile(twins(), **options)
    other.load(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(other(x=x)["b"], out["b"])


def test_one_gradient_of_two_parameters(rng):
    """p and q are added, so their gradients are one value, which two updates read."""
    x = rng.standard_normal(3)
    found = []
    for options in ({}, {"optimize": False}):
        g = gx.Graph("shared")
        p, q = g.parameter("p", value=np.array([1.0, 2.0, 3.0])), g.parameter("q", value=np.array([0.5, 0.5, 0.5]))
        g.output(ops.sum(ops.square(ops.sin(p) + ops.sin(q) - g.input("x", (3,), "float64")), name="loss"))
        exe = gx.compile(g, loss="loss", optimizer=gx.SGD(lr=0.1, momentum=0.5), **options)
        found.append([[exe.step(x=x) for _ in range(3)], exe.parameters["p"], exe.parameters["q"]])
    for quick, plain in zip(*found, strict=True):
        np.testing.assert_allclose(quick, plain, rtol=1e-13)
