"""The public surface, in about a second: what to run before every commit."""

import networkx as nx
import numpy as np
import pytest

import graphexec as gx


def _line() -> gx.Graph:
    g = gx.Graph("line")
    x = g.input("x", ("batch", 2), "float64")
    y = g.input("y", ("batch", 1), "float64")
    w = g.parameter("w", value=np.array([[0.5, -1.0]]))
    b = g.parameter("b", value=np.array([0.25]))
    z = gx.ops.linear(x, w, b, name="z")
    loss = gx.ops.half_squared_error(z, y, name="loss")
    g.output(z, loss)
    return g


X, Y = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([[0.5], [1.0]])
Z = X @ np.array([[0.5], [-1.0]]) + 0.25


def test_forward() -> None:
    out = gx.compile(_line())(x=X, y=Y)
    assert np.array_equal(out["z"], Z)
    assert out["loss"] == 0.5 * np.sum((Z - Y) ** 2)


def test_gradients_and_deltas() -> None:
    exe = gx.compile(_line(), loss="loss", keep_deltas=True)
    loss, gradients = exe.gradients(x=X, y=Y)
    assert loss == 0.5 * np.sum((Z - Y) ** 2)
    np.testing.assert_allclose(gradients["w"], (Z - Y).T @ X, rtol=1e-14)
    np.testing.assert_allclose(gradients["b"], (Z - Y).sum(0), rtol=1e-14)
    np.testing.assert_array_equal(exe.deltas["z"], Z - Y)


def test_step_updates_parameters_in_place() -> None:
    exe = gx.compile(_line(), loss="loss", optimizer=gx.SGD(lr=0.1))
    w = exe.parameters["w"]
    before = w.copy()
    exe.step(x=X, y=Y)
    np.testing.assert_allclose(w, before - 0.1 * (Z - Y).T @ X, rtol=1e-14)
    exe.step()  # the same inputs again


def test_fit_learns_a_line() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = x @ np.array([[2.0], [-3.0]]) + 1.0
    exe = gx.compile(_line(), loss="loss", optimizer=gx.SGD(lr=0.01))
    history = exe.fit({"x": x, "y": y}, epochs=30, batch_size=16, progress=False)
    assert history[-1]["loss"] < 1e-6 < history[0]["loss"]
    np.testing.assert_allclose(exe.parameters["w"], [[2.0, -3.0]], atol=1e-3)


def test_networkx_graph_runs() -> None:
    dag = nx.MultiDiGraph()
    dag.add_node("x", op="input", shape=("n",), dtype="float64")
    dag.add_node("y", op="multiply")
    dag.add_edge("x", "y", key=0)
    dag.add_edge("x", "y", key=1)
    np.testing.assert_array_equal(gx.compile(gx.Graph.from_networkx(dag))(x=[1.0, 2.0, 3.0])["y"], [1.0, 4.0, 9.0])


def test_ops_compute_on_arrays() -> None:
    np.testing.assert_allclose(gx.ops.tanh(np.array([0.5, -0.5])), np.tanh([0.5, -0.5]), rtol=1e-15)
    np.testing.assert_array_equal(gx.ops.matmul(X, X), X @ X)


def test_differentiate_gives_a_graph() -> None:
    graph = gx.differentiate(_line(), of="loss", wrt=["w"])
    out = gx.compile(graph)(x=X, y=Y)
    np.testing.assert_allclose(out[graph.dag.graph["gradients"]["w"]], (Z - Y).T @ X, rtol=1e-14)


def test_an_error_says_where_what_and_what_to_do() -> None:
    g = gx.Graph()
    x, w = g.input("x", ("batch", 3)), g.parameter("w", (2, 3))
    with pytest.raises(gx.ShapeError) as caught:
        gx.ops.matmul(x, w, name="z")
    text = str(caught.value)
    assert "node 'z' (op 'matmul')" in text
    assert "inner dimensions differ" in text
    assert "(batch, 3) float32" in text
    assert "must equal 3" in text


def test_a_new_batch_size_compiles_nothing() -> None:
    from graphexec.codegen import kernels

    exe = gx.compile(_line(), loss="loss", optimizer=gx.SGD(lr=0.1))
    exe.step(x=X, y=Y)
    before = len(kernels.compiled), len(kernels.loaded)
    for rows in (1, 2, 7, 64):
        exe.step(x=np.ones((rows, 2)), y=np.ones((rows, 1)))
        exe.gradients(x=np.ones((rows, 2)), y=np.ones((rows, 1)))
    assert (len(kernels.compiled), len(kernels.loaded)) == before
