"""Functions of elements that raise: refused where they say so, reported where an operation raises by itself; and who may fail."""

from pathlib import Path

import numpy as np
import pytest

import graphexec as gx
from graphexec.ir.failures import may_fail
from graphexec.ir.registry import registry
from graphexec.plugin import elementwise, reduction

LOOKUP = (1.0, 2.0, 4.0)


def line_of(name):
    """The file and line of this file that carries a mark."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return f"{__file__}:{1 + next(k for k, text in enumerate(lines) if text.endswith(f'# line: {name}'))}"


def _plain(x):
    return x


@elementwise(reference=_plain, domain=(0.0, 1.0), differentiable=False)
def from_table(x):
    return LOOKUP[int(x)] + 0.0 * x  # line: from_table


@elementwise(reference=_plain, domain=(0.0, 1.0))
def rule_of_this_test(x):
    return x


@rule_of_this_test.backward
def _(d_out, x):
    return d_out * LOOKUP[int(x)]


def test_a_function_of_elements_that_raises_by_itself(registry_kept):
    gx.register(from_table)
    assert may_fail(from_table.op)
    assert np.array_equal(from_table(np.array([0.0, 2.0])), [1.0, 4.0])
    g = gx.Graph("g")
    x = g.input("x", ("n",), "float64")
    g.output(gx.ops.exp(from_table(x, name="t"), name="e"))
    for call in (lambda: from_table(np.array([0.0, 7.0])), lambda: gx.compile(g)(x=np.array([0.0, 7.0]))):
        with pytest.raises(gx.KernelError, match="raised IndexError: tuple index out of range") as caught:
            call()
        assert type(caught.value.__cause__) is IndexError
        assert any(line_of("from_table") in fact for fact in caught.value.facts)


def test_state_waits_for_functions_of_elements_that_may_raise(registry_kept):
    gx.register(rule_of_this_test)
    g = gx.Graph("g")
    x = g.input("x", ("n", 3), "float64")
    first, second = (g.parameter(n, (3,), "float64", value=np.ones(3)) for n in ("first", "second"))
    g.output(gx.ops.sum(gx.ops.exp(rule_of_this_test(x * first)) * second, name="loss"))
    exe = gx.compile(g, loss="loss", optimizer=gx.Adam(lr=0.1))
    exe.step(x=np.ones((4, 3)))
    before = {n: a.copy() for n, a in exe.state().items()}
    with pytest.raises(gx.KernelError, match="raised"):
        exe.step(x=np.full((4, 3), 9.0))
    assert all(np.array_equal(a, before[n]) for n, a in exe.state().items())


def refuses(x):
    if x < 0:
        raise ValueError("negative")  # line: refuses
    return x


@elementwise(reference=_plain, domain=(0.0, 1.0), differentiable=False)
def element_raises(x):
    if x < 0:
        raise ValueError("negative")  # line: element_raises
    return x


@elementwise(reference=_plain, domain=(0.0, 1.0), differentiable=False)
def element_asserts(x):
    assert x > 0  # line: element_asserts
    return x


@elementwise(reference=_plain, domain=(0.0, 1.0), differentiable=False)
def element_calls(x):
    return refuses(x)


@elementwise(reference=lambda *xs: sum(xs), domain=(0.0, 1.0), differentiable=False)
def elements_raise(*xs):
    if xs[0] < 0:
        raise ValueError("negative")  # line: elements_raise
    return xs[0]


@reduction(identity=0.0, reference=np.sum, domain=(0.0, 1.0), differentiable=False)
def combine_raises(accumulated, x):
    if x < 0:
        raise ValueError("negative")  # line: combine_raises
    return accumulated + x


REFUSED = [(element_raises, "element_raises"), (element_asserts, "element_asserts"), (element_calls, "refuses"),
           (elements_raise, "elements_raise"), (combine_raises, "combine_raises")]  # fmt: skip


@pytest.mark.parametrize(("op", "mark"), REFUSED, ids=[mark for _, mark in REFUSED])
def test_a_function_of_elements_that_says_raise_is_refused(op, mark):
    with pytest.raises(gx.PluginError, match="a function of elements cannot raise") as caught:
        op(np.ones(3))
    assert caught.value.source == line_of(mark)
    assert "declare the op by @kernel" in caught.value.todo


@elementwise(reference=lambda x, *, how="a": x, domain=(0.0, 1.0), differentiable=False)
def refuses_an_attribute(x, *, how="a"):
    if how == "a":
        return x
    else:
        raise ValueError("how")


def test_a_branch_that_an_attribute_rules_out_may_raise():
    assert np.array_equal(refuses_an_attribute(np.ones(3)), np.ones(3))
    with pytest.raises(gx.PluginError, match="cannot raise"):
        refuses_an_attribute(np.ones(3), how="b")


def test_built_in_kernels_that_promise_not_to_raise_are_told_apart():
    promised = {name for name in registry.names() if not getattr(registry.get(name), "raises", True)}
    assert promised == {
        "argmax_along", "concat", "correlate", "correlate_input", "correlate_weights", "gather_windows", "max_windows", "pad",
        "scatter_windows", "unslice",
    }  # fmt: skip
    assert not any(may_fail(registry.get(name)) for name in promised)
