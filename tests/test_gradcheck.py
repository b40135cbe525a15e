"""check_gradient tells a wrong rule from data on which no gradient can be compared."""

import numpy as np
import pytest

import graphexec as gx

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
