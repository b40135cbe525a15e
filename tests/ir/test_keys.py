"""Attributes are compared exactly: values that Python calls equal, such as 0.0 and -0.0, are different attributes."""

import itertools

import numpy as np
import pytest

import graphexec as gx
from graphexec.ir.keys import exactly, freeze
from graphexec.ir.registry import registry
from graphexec.plugin import elementwise

EQUAL_TO_PYTHON = [(0.0, -0.0), (1, True), (1, 1.0), (0, False), (1.0, True), ((0.0, 1.0), (-0.0, 1.0)), ((1, 2), (True, 2))]
PAIRS = [pair for both in EQUAL_TO_PYTHON for pair in (both, both[::-1])]


@elementwise(reference=lambda x, *, c=0.0: np.copysign(x, c), domain=(1, 2), differentiable=False)
def signed_as(x, *, c=0.0):
    return abs(x) if 1 / c > 0 else -abs(x)


@elementwise(reference=lambda x, *, c=None: x if c is None else np.full_like(x, c), domain=(1, 2), differentiable=False)
def instead(x, *, c=None):
    return x if c is None else c


@elementwise(reference=lambda x, *, limits=None: x, domain=(1, 2), differentiable=False)
def within(x, *, limits=None):
    return x if limits is None else min(max(x, limits[0]), limits[1])


@pytest.fixture
def registered():
    for declared in (signed_as, instead, within):
        registry.register(declared.op)
    yield
    for declared in (signed_as, instead, within):
        registry.unregister(declared.op.name)


@pytest.mark.parametrize(("default", "given"), PAIRS, ids=repr)
def test_what_differs_from_the_default_is_kept(default, given):
    op = type(signed_as.op)(name="any", function=abs, inputs=("x",), attributes={"c": default})
    assert op.non_defaults({"c": default}) == {}
    kept = op.non_defaults({"c": given})
    assert exactly(kept["c"]) == exactly(given)


@pytest.mark.parametrize("value", [0.0, -0.0, float("nan"), 1, True, None, "sum", (1.0, float("nan"))], ids=repr)
def test_a_value_is_equal_to_itself(value):
    copy = tuple(value) if isinstance(value, tuple) else type(value)(value) if value is not None else None
    assert freeze({"c": value}) == freeze({"c": copy})


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("extension", ["yaml", "json"])
def test_minus_zero_reaches_the_kernel_and_the_file(extension, tmp_path):
    g = gx.Graph("signs")
    x = g.input("x", (2,), "float64")
    g.output(gx.ops.signed_as(x, c=-0.0, name="minus"), gx.ops.signed_as(x, c=0.0, name="plus"))
    g.save(tmp_path / f"g.{extension}")
    for graph in (g, gx.load(tmp_path / f"g.{extension}"), gx.Graph.from_networkx(g.dag)):
        assert graph.dag.nodes["minus"]["attributes"]["c"].hex() == "-0x0.0p+0"
        out = gx.compile(graph, threads=1)(x=[1.0, 2.0])
        np.testing.assert_array_equal(out["minus"], [-1.0, -2.0])
        np.testing.assert_array_equal(out["plus"], [1.0, 2.0])


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("values", list(itertools.permutations([0.0, -0.0, float("inf"), float("nan"), -2.5, None], 2)), ids=repr)
def test_kernels_of_equal_constants_are_not_shared(values):
    """Where the default is None the value is part of the kernel's code."""
    x = np.array([1.0, 2.0])
    for c in values:
        expected = x if c is None else np.full_like(x, c)
        found = gx.ops.instead(x, c=c)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.usefixtures("registered")
def test_tuples_with_infinities_are_constants():
    np.testing.assert_array_equal(gx.ops.within(np.array([-3.0, 9.0]), limits=(-np.inf, 2.0)), [-3.0, 2.0])
