"""Compilation takes work in proportion to the number of nodes: tests count compiled calls and computed values, and time nothing."""

import numpy as np
import pytest

import graphexec as gx
from graphexec import gradcheck
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.infer import infer
from graphexec.ir.op_kinds import ElementwiseOp
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


def evaluations(monkeypatch, nodes):
    """The elementwise references that a check of a graph with as many operands as nodes calls, per node."""
    calls, plain = [], ElementwiseOp.evaluate_plain
    monkeypatch.setattr(ElementwiseOp, "evaluate_plain", lambda op, *args: calls.append(op) or plain(op, *args))
    g = gx.Graph("deep")
    value = g.input("x", (2,))
    for k in range(nodes // 2):
        value = gx.ops.tanh(value + g.parameter(f"p{k}", (2,)))
    g.output(gx.ops.sum(value, name="loss"))
    report = gx.check_gradient(g, of="loss")
    assert report.passed
    assert any(f"its {nodes // 2 + 1} operands were checked together" in note for note in report.notes)
    monkeypatch.setattr(ElementwiseOp, "evaluate_plain", plain)
    return len(calls) / nodes


def test_a_gradient_check_takes_work_in_proportion_to_nodes(monkeypatch):
    monkeypatch.setattr(gradcheck, "MAX_EVALUATIONS", 100)
    few, many = evaluations(monkeypatch, 100), evaluations(monkeypatch, 400)
    assert many < 1.1 * few < 20


def test_a_gradient_check_of_few_nodes_tries_every_entry():
    g = gx.Graph("small")
    g.output(gx.ops.sum(gx.ops.tanh(g.input("x", (2, 3))), name="loss"))
    report = gx.check_gradient(g, of="loss")
    assert {c.operand for c in report.checks} == {"x"}
    assert not report.notes
