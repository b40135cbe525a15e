"""check_gradient tells a wrong rule from data on which no gradient can be compared."""

import numpy as np
import pytest

import graphexec as gx
from graphexec import gradcheck

BAD = [np.nan, np.inf, -np.inf]


def product():
    g = gx.Graph("g")
    x, w = g.input("x", ("n", 3), "float64"), g.parameter("w", (3,), "float64", init="ones")
    g.output(gx.ops.sum(gx.ops.square(x * w), name="loss"))
    return g


@pytest.mark.parametrize("value", BAD)
def test_bad_data_is_named_with_its_place(value):
    x = np.ones((4, 3))
    x[2, 1] = x[3, 0] = value
    with pytest.raises(gx.DataError) as caught:
        gx.check_gradient(product(), of="loss", inputs={"x": x})
    assert caught.value.what.startswith(f"input 'x' holds {value:g} at index (2, 1) (and 1 more)")


def test_bad_parameters_are_named():
    with pytest.raises(gx.DataError, match=r"parameter 'w' holds nan at index \(1,\)"):
        gx.check_gradient(product(), of="loss", inputs={"x": np.ones((4, 3))}, parameters={"w": np.array([1.0, np.nan, 1.0])})


@pytest.mark.parametrize(("op", "at"), [("log", -1.0), ("sqrt", -2.0), ("exp", 1000.0)])
def test_a_node_that_makes_it_is_named(op, at):
    g = gx.Graph("g")
    x = g.input("x", (2,), "float64")
    g.output(gx.ops.sum(getattr(gx.ops, op)(x * 1.0, name="maker"), name="loss"))
    with pytest.raises(gx.DataError, match=f"node 'maker' \\(op '{op}'\\): the result is ") as caught:
        gx.check_gradient(g, of="loss", inputs={"x": np.array([0.5, at])})
    assert "at index (1,)" in caught.value.what


def test_infinity_that_does_no_harm_is_no_error():
    """A mask of -infinity before a softmax: its weights are zero, and so are their slopes."""
    g = gx.Graph("g")
    x, mask = g.input("x", (3,), "float64"), g.input("mask", (3,), "float64")
    g.output(gx.ops.sum(gx.ops.square(gx.ops.softmax(x + mask)), name="loss"))
    report = gx.check_gradient(g, of="loss", wrt=["x"], inputs={"x": np.ones(3), "mask": np.array([0.0, 0.0, -np.inf])})
    assert report.passed


def test_a_wrong_rule_is_still_called_one(registry_kept):
    from graphexec.plugin import elementwise

    @elementwise(reference=np.sin, domain=(-1.0, 1.0))
    def wrong_of_this_test(x):
        return np.sin(x)

    @wrong_of_this_test.backward
    def _(d_out, x):
        return d_out * x

    gx.register(wrong_of_this_test)
    g = gx.Graph("g")
    g.output(gx.ops.sum(wrong_of_this_test(g.input("x", (3,), "float64"), name="y"), name="loss"))
    with pytest.raises(gx.GradientMismatch, match="node 'y'"):
        gx.check_gradient(g, of="loss")


@pytest.fixture
def together(monkeypatch):
    """Checks all operands together, as in a large graph."""
    monkeypatch.setattr(gradcheck, "MAX_EVALUATIONS", -1)


def deep(layer, layers=30):
    g = gx.Graph("deep")
    value = g.input("x", (2, 3), "float64")
    for k in range(layers):
        value = layer(value, g.parameter(f"w{k}", (3,), "float64", init="ones"), k)
    g.output(gx.ops.sum(value, name="loss"))
    return g


def test_kinks_of_many_nodes_do_not_fail(together):
    report = gx.check_gradient(deep(lambda v, w, k: gx.ops.abs(gx.ops.maximum(v * w, -v) - 0.3), 200), of="loss")
    assert report.passed
    assert {c.operand for c in report.checks} == {"all 201 together"}


def test_a_stopped_gradient_is_no_wrong_rule(together):
    g = deep(lambda v, w, k: gx.ops.tanh(v * w + gx.ops.stop_gradient(v)))
    assert gx.check_gradient(g, of="loss").passed


def test_saturated_nodes_do_not_fail(together):
    assert gx.check_gradient(deep(lambda v, w, k: gx.ops.tanh(v * w * 12.0)), of="loss").passed


def test_slopes_that_are_all_zero_are_said_to_be(together):
    report = gx.check_gradient(deep(lambda v, w, k: v * w * 0.0), of="loss")
    assert any("all slopes are 0" in note for note in report.notes)


@pytest.mark.parametrize("layers", [3, 200])  # behind the second one, the gradient vanishes
def test_the_wrong_rule_of_a_large_graph_is_named(together, registry_kept, layers):
    from graphexec.plugin import elementwise

    @elementwise(reference=np.sin, domain=(-1.0, 1.0))
    def slightly_wrong_of_this_test(x):
        return np.sin(x)

    @slightly_wrong_of_this_test.backward
    def _(d_out, x):
        return d_out * np.cos(x) * 1.001

    gx.register(slightly_wrong_of_this_test)
    g = deep(lambda v, w, k: slightly_wrong_of_this_test(v, name="bad") if k == 1 else gx.ops.tanh(v * w * 0.5), layers)
    with pytest.raises(gx.GradientMismatch, match="node 'bad'"):
        gx.check_gradient(g, of="loss")
