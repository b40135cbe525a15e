"""Passes are functions: the function that a pass is given is the same afterwards, to the last list and node."""

import numpy as np
import pytest
from helpers.graphs import RandomGraph, random_dag

import graphexec as gx
from graphexec.compiled import pipeline
from graphexec.ir.infer import infer
from graphexec.ir.keys import freeze
from graphexec.rewrite import PASSES
from graphexec.rewrite.legalize.inline_composites import inline_composites
from graphexec.rewrite.schedule.rematerialize import rematerialize

ops = gx.ops


def layers():
    """Products with epilogues, normalised rows, a weight that is used twice, slices, and parameters small and large."""
    g = gx.Graph("layers")
    x, w = g.input("x", (8, 16)), g.parameter("w", (16, 16), init="normal")
    rows = g.parameter("rows", (4, 16), init="normal")
    h = x
    for k in range(2):
        h = ops.softmax(ops.tanh(ops.linear(h, w, g.parameter(f"b{k}", (16,), init="zeros"))), axis=-1)
    parts = [h[:, :8] * 2.0, h[:, 8:] * 3.0]
    h = ops.concat(*parts, axis=1) + ops.sum(rows, axis=0)
    g.output(ops.mse(h, ops.softmax(x, axis=0), name="loss"))
    return g


GRAPHS = {
    "layers": layers, "random": lambda: RandomGraph(3, "float32", again=4).graph, "small": lambda: random_dag(0, 400, shape=(3,)),
}  # fmt: skip


def step(graph, optimizer, **options):
    """The training step of a graph, before any pass but those of the front end."""

    class Unoptimized(pipeline.Functions):
        def finish(self, fn):
            return fn

    return Unoptimized(graph, "loss", None, optimizer, keep_deltas=False, skip=(), **options)


def snapshot(fn):
    """Everything that a function holds, by content, and its nodes by identity too."""
    nodes = [(id(n), n.name, n.op, n.inputs, n.outputs, freeze(n.attributes), n.location) for n in fn.nodes]
    leaves = [(id(x), np.asarray(x.value).tobytes()) for x in fn.leaves if x.value is not None]
    leaves += [(id(x), x.name, x.role, x.value_id, x.shape, x.dtype) for x in fn.leaves]
    named = [list(d.items()) for d in (fn.outputs, fn.gradients, fn.deltas)]
    return nodes, leaves, list(fn.names), list(map(id, fn.specs)), named


@pytest.fixture(scope="module", params=GRAPHS)
def functions(request):
    """For each pass the function that it is given, as the passes before it leave it."""
    fn, given = step(GRAPHS[request.param](), gx.Adam()).of("step"), {}
    for name, run in PASSES.items():
        given[name] = fn
        fn = run(fn, [])
    return given


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_changes_nothing_that_it_is_given(name, functions):
    fn = functions[name]
    for live_out in ([], [v for node in fn.nodes[::5] for v in node.outputs]):
        before = snapshot(fn)
        PASSES[name](fn, live_out)
        assert snapshot(fn) == before


def test_the_passes_of_the_front_end_change_nothing_either():
    fn = layers().function()
    fn = infer(fn, {})
    before = snapshot(fn)
    plain = inline_composites(fn)
    assert snapshot(fn) == before
    functions = step(layers(), None)
    made = functions.of("gradients")
    before = snapshot(made)
    again = rematerialize(made, functions.forward.nodes, 2, made.live_out)
    assert snapshot(made) == before
    assert any(node.name.endswith(".again") for node in again.nodes)
    assert len(plain.nodes) > np.count_nonzero([node.op.op_class == "composite" for node in fn.nodes])
