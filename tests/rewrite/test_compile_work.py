"""Compilation takes work in proportion to the number of nodes: tests count compiled calls and computed values, and time nothing."""

import numpy as np
import pytest

import graphexec as gx
from graphexec import gradcheck
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.infer import infer
from graphexec.ir.spec import Sizes
from graphexec.rewrite import optimize
from graphexec.rewrite.fusion.scheduler import MAX_COMPILED_CALLS


def chain(nodes, draw):
    """A chain of random elementwise ops, in which hardly two stretches are equal."""
    g = gx.Graph("chain")
    x, w = g.input("x", ("batch", 8), dtype="float64"), g.parameter("w", value=np.full(8, 0.9))
    steps = [gx.ops.sin, gx.ops.tanh, gx.ops.abs, lambda v: v * w, lambda v: v + w, lambda v: v - 0.5]
    value = x
    for k in draw.integers(len(steps), size=nodes):
        value = steps[k](value)
    g.output(gx.ops.copy(value, name="out"))
    return g


def compiled_calls(fn):
    """The calls in all distinct fused kernels of a function."""
    return sum(len(op.calls) for op in {n.op for n in fn.nodes if isinstance(n.op, FusedOp)})


@pytest.mark.parametrize("nodes", [500, 2_000, 8_000])
def test_a_deep_chain_compiles_a_bounded_number_of_calls(nodes):
    fn = optimize(infer(chain(nodes, np.random.default_rng(1)).function(), Sizes()))
    assert compiled_calls(fn) <= MAX_COMPILED_CALLS
    assert len(fn.nodes) < 0.6 * nodes  # short parts are fused where long ones are too many


def test_short_parts_compute_what_the_graph_means():
    g, x = chain(2_500, np.random.default_rng(2)), np.random.default_rng(0).standard_normal((3, 8))
    plain = gx.compile(g, optimize=False)(x=x)["out"]
    np.testing.assert_allclose(gx.compile(g)(x=x)["out"], plain, rtol=1e-6)


def test_a_gradient_check_of_many_nodes_draws_its_operands(monkeypatch):
    monkeypatch.setattr(gradcheck, "MAX_EVALUATIONS", 3_000)
    g = gx.Graph("deep")
    value = g.input("x", (2,))
    for k in range(50):
        value = gx.ops.tanh(value + g.parameter(f"p{k}", (2,)))
    g.output(gx.ops.sum(value, name="loss"))
    report = gx.check_gradient(g, of="loss")
    checked = len({c.operand for c in report.checks})
    assert 1 <= checked <= 3_000 // (5 * 101)
    assert any(f"{checked} of 51 operands were checked" in note for note in report.notes)


def test_a_gradient_check_of_few_nodes_tries_every_entry():
    g = gx.Graph("small")
    g.output(gx.ops.sum(gx.ops.tanh(g.input("x", (2, 3))), name="loss"))
    report = gx.check_gradient(g, of="loss")
    assert {c.operand for c in report.checks} == {"x"}
    assert not report.notes
