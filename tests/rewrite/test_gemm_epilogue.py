"""Products whose results are worked on while they are in the cache: every path, threads, and what must stay apart."""

import numpy as np
import pytest
from helpers.run import registered

import graphexec as gx
from graphexec.plugin import elementwise

ops = gx.ops

SHAPES = [  # of each path: one tile, a row, few rows, dots, few columns, blocks of several sizes, with and without a few columns
    # beside them; a C turned round; no depth
    (3, 16, 5), (1, 64, 40), (1, 300, 7), (2, 130, 33), (3, 40, 100), (70, 16, 9), (200, 17, 64), (90, 33, 65), (300, 200, 150),
    (128, 64, 1100), (5, 20, 0), (64, 600, 20), (16, 64, 64),
]  # fmt: skip


def layer(m, n, k, dtype, *, turned_a=False, turned_b=False):
    """tanh(a b + bias), with a and b as they are or as transposed views."""
    g = gx.Graph("layer")
    a = g.input("a", (k, m) if turned_a else (m, k), dtype)
    b = g.input("b", (n, k) if turned_b else (k, n), dtype)
    bias = g.input("bias", (n,), dtype)
    product = (ops.transpose(a) if turned_a else a) @ (ops.transpose(b) if turned_b else b)
    g.output(ops.tanh(product + bias, name="out"))
    r = np.random.default_rng(0)
    return g, {leaf: r.normal(size=s).astype(dtype) / 8 for leaf, s in (("a", a.shape), ("b", b.shape), ("bias", bias.shape))}


def kinds(exe):
    return [i.node.op.name for i in exe.program.instructions]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_every_path_does_what_follows_once(m, n, k, dtype):
    for turned_a, turned_b in ((False, False), (True, False), (False, True), (True, True)):
        graph, data = layer(m, n, k, dtype, turned_a=turned_a, turned_b=turned_b)
        exe = gx.compile(graph, threads=1)
        out = exe(**data)["out"]
        assert kinds(exe) == ["matmul+fused"]
        exe.program.check()
        a, b = (data[x].T if turned else data[x] for x, turned in (("a", turned_a), ("b", turned_b)))
        expected = np.tanh(a.astype("float64") @ b.astype("float64") + data["bias"])
        np.testing.assert_allclose(out, expected, rtol=0, atol=40 * max(k, 1) * np.finfo(dtype).eps)


@pytest.mark.parametrize(("m", "n", "k"), [(300, 200, 150), (1, 2000, 1500), (2, 3000, 800), (6, 512, 4096), (2000, 17, 300)])
def test_threads_give_the_same_bits(m, n, k):
    graph, data = layer(m, n, k, "float32")
    expected = gx.compile(graph, threads=1)(**data)["out"]
    for threads in (2, 3, 8):
        exe = gx.compile(graph, threads=threads)
        for _ in range(3):
            np.testing.assert_array_equal(exe(**data)["out"], expected)


def test_columns_of_a_product_may_be_read_and_several_results_stored():
    g = gx.Graph("gate")
    x, w, gate = g.input("x", ("n", 24)), g.parameter("w", (24, 40), init="normal(std=0.3)"), g.input("gate", ("n", 1))
    h = x @ w
    s = ops.sigmoid(h)
    g.output(ops.multiply(s, gate, name="out"), ops.add(s, h, name="other"))
    exe = gx.compile(g, threads=1, seed=3)
    r = np.random.default_rng(1)
    data = {"x": r.normal(size=(9, 24)).astype("float32"), "gate": r.normal(size=(9, 1)).astype("float32")}
    found = exe(**data)
    assert kinds(exe) == ["matmul+fused"]
    z = data["x"] @ exe.parameters["w"]
    np.testing.assert_allclose(found["out"], data["gate"] / (1 + np.exp(-z)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["other"], 1 / (1 + np.exp(-z)) + z, rtol=1e-5, atol=1e-5)


def test_a_product_that_others_read_or_that_is_wanted_stays_apart():
    g = gx.Graph("apart")
    x, w = g.input("x", (20, 20)), g.parameter("w", (20, 20), init="normal")
    h = ops.matmul(x, w, name="h")
    g.output(ops.tanh(h, name="out"), ops.sum(h, axis=0, name="total"))
    exe = gx.compile(g)
    exe(x=np.eye(20, dtype="float32"))
    assert "matmul" in kinds(exe)
    g = gx.Graph("wanted")
    x, w = g.input("x", (20, 20)), g.parameter("w", (20, 20), init="normal")
    h = ops.matmul(x, w, name="h")
    g.output(ops.tanh(h, name="out"), h)
    exe = gx.compile(g)
    np.testing.assert_allclose(np.tanh(exe(x=np.eye(20, dtype="float32"))["h"]), exe()["out"], rtol=1e-6)
    assert "matmul" in kinds(exe)


def test_a_product_that_lends_its_shape_is_no_less_joined():
    """The gradient of b is summed to b's shape from something as large as the product, which is asked for its shape alone."""
    g = gx.Graph("lent")
    x, w, b = g.input("x", (6, 4, 8)), g.parameter("w", (8, 16), init="normal(std=0.3)"), g.parameter("b", (16,), init="normal")
    z = (x.reshape(24, 8) @ w + b).reshape(6, 4, 16)
    g.output(ops.sum(ops.square(z[1]) * z[2] + z[0] * z[3] + z[4] - z[5], name="loss"))
    data = {"x": np.random.default_rng(5).normal(size=(6, 4, 8)).astype("float32")}
    fast, slow = (gx.compile(g, loss="loss", seed=1, threads=1, optimize=o) for o in (True, False))
    loss, gradients = fast.gradients(**data)
    assert kinds(fast)[0] == "matmul+add"
    expected, others = slow.gradients(**data)
    assert loss == pytest.approx(expected, rel=1e-5)
    for name, array in gradients.items():
        np.testing.assert_allclose(array, others[name], rtol=1e-4, atol=1e-4)


def test_updates_follow_the_product_that_makes_the_gradient():
    """The update of w waits for the product that reads w, wherever the nodes stand."""
    def build(optimize):
        g = gx.Graph("two layers")
        x, y = g.input("x", ("batch", 24)), g.input("y", ("batch", 32))
        w1, w2 = (g.parameter(n, s, init="normal(std=0.2)") for n, s in (("w1", (24, 48)), ("w2", (48, 32))))
        z = ops.tanh(x @ w1) @ w2
        g.output(ops.half_squared_error(z, y, reduction="mean", name="loss"))
        return gx.compile(g, loss="loss", optimizer=gx.Adam(lr=0.01), seed=0, optimize=optimize, threads=1)

    r = np.random.default_rng(2)
    data = {"x": r.normal(size=(40, 24)).astype("float32"), "y": r.normal(size=(40, 32)).astype("float32")}
    fast, slow = build(True), build(False)
    for _ in range(5):
        assert fast.step(**data) == pytest.approx(slow.step(**data), rel=1e-5)
    assert kinds(fast).count("matmul+adam") == 2
    fast.program.check()
    for name in ("w1", "w2"):
        np.testing.assert_allclose(fast.parameters[name], slow.parameters[name], rtol=1e-4, atol=1e-5)


ZEROS = (0.0, 0.0)


@elementwise(reference=lambda x: x, domain=(-1.0, 1.0), differentiable=False)
def refuses_negatives(x):
    return x + ZEROS[0 if x > 0 else 2]  # which raises


def test_what_follows_may_fail():
    g = gx.Graph("fails")
    x, w = g.input("x", (20, 20)), g.parameter("w", (20, 20), value=np.eye(20, dtype="float32"))
    g.output(refuses_negatives(x @ w, name="out"))
    with registered(refuses_negatives):
        exe = gx.compile(g)
        good = np.ones((20, 20), "float32")
        np.testing.assert_array_equal(exe(x=good)["out"], good)
        assert kinds(exe) == ["matmul+refuses_negatives"]
        for _ in range(2):
            with pytest.raises(gx.GraphExecError, match="out"):
                exe(x=-good)
            np.testing.assert_array_equal(exe(x=good)["out"], good)
