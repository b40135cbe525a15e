"""superinstructions: which frequent pairs become one node, what is stored, and that the numbers stay."""

import sys
from collections import Counter

import numpy as np
import pytest
from helpers.graphs import random_dag
from helpers.run import differentiated

import graphexec as gx
from graphexec.interpret import interpret
from graphexec.ir.function import Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.registry import registry
from graphexec.rewrite import required
from graphexec.rewrite.fusion.superinstructions import superinstructions

ops = gx.ops
module = sys.modules["graphexec.rewrite.fusion.superinstructions"]


@pytest.fixture
def eager(monkeypatch):
    """Every pair is frequent enough."""
    for name, value in {"MIN_SMALL_NODES": 1, "MIN_PAIRS": 1, "MAX_NODES_PER_PAIR": 1 << 30}.items():
        monkeypatch.setattr(module, name, value)


def backward(graph, prepared, names, wanted=()):
    """The order of a graph's gradients by ``names``, and with other values as outputs too."""
    fn = prepared(graph)
    fn = differentiated(fn, *names)
    outputs = {**fn.outputs, **{f"d_{n}": v for n, v in fn.gradients.items()}, **{fn.names[v]: v for v in wanted}}
    return required(fn.with_nodes(fn.nodes, outputs=outputs))


def calls_of(fn):
    return [[c.op.name for c in n.op.calls] if isinstance(n.op, FusedOp) else n.op.name for n in fn.nodes]


def values_of(graph):
    return {name: np.array(data["value"]) for name, data in graph.dag.nodes(data=True) if data["op"] == "parameter"}


@pytest.mark.parametrize("seed", range(3))
def test_random_graphs_give_the_same(seed, prepared, execute, monkeypatch):
    monkeypatch.setattr(module, "MAX_NODES_PER_PAIR", 100)
    g = random_dag(seed, 400)
    wanted = np.random.default_rng(seed).integers(10, 300, 40)  # values in the middle, which must be stored
    fn = backward(g, prepared, [f"p{k}" for k in range(6)], map(int, wanted))
    merged = superinstructions(fn)
    assert len(merged.nodes) < 0.75 * len(fn.nodes)
    assert max(len(n.op.calls) for n in merged.nodes if isinstance(n.op, FusedOp)) > 2
    plain, found = execute(fn, values_of(g)), execute(merged, values_of(g))
    assert plain.keys() == found.keys() >= {"loss", "d_p5"}
    for name, array in plain.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-11, err_msg=name)
    np.testing.assert_allclose(found["loss"], interpret(g, values_of(g))["loss"], rtol=1e-11)


@pytest.mark.parametrize("near", [False, True])
def test_what_others_read_is_stored(near, prepared, agrees, eager):
    """tanh moves to sin, its first reader; if the next reader is cos, that takes them in, and nothing of tanh is stored."""
    g = gx.Graph("readers")
    x, y = g.input("x", (4,), "float64"), g.input("y", (4, 4), "float64")
    t = ops.tanh(x, name="t")
    s = ops.sin(t, name="s")
    c = ops.cos(t, name="c") if near else None
    column = y @ ops.expand_dims(s, axis=1)
    c = ops.cos(t, name="c") if c is None else c
    g.output(ops.add(ops.sum(column), ops.sum(c), name="z"))
    fn = superinstructions(prepared(g))
    (node,) = [n for n in fn.nodes if isinstance(n.op, FusedOp)]
    assert [c.op.name for c in node.op.calls] == (["tanh", "sin", "cos"] if near else ["tanh", "sin"])
    assert [fn.names[v] for v in node.outputs] == (["s", "c"] if near else ["t", "s"])
    agrees(g, fn, {"x": np.linspace(-1, 1, 4), "y": np.eye(4)})


def test_a_value_that_is_kept_is_stored(prepared, eager):
    g = gx.Graph("kept")
    g.output(ops.sin(ops.tanh(g.input("x", (3,)), name="t"), name="y"))
    fn = prepared(g)
    (node,) = superinstructions(fn, [fn.value_id("t")]).nodes
    assert [fn.names[v] for v in node.outputs] == ["t", "y"]
    (node,) = superinstructions(fn).nodes
    assert [fn.names[v] for v in node.outputs] == ["y"]


P, X = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.5, 2.0])


def with_update(prepared, gradient, after, through_view=False):
    """t = tanh(p) and y = sin(t), and behind the node ``after`` an update of p by ``gradient``, whose result is "new"."""
    g = gx.Graph("update")
    p, _ = g.parameter("p", value=P), g.input("x", (3,), "float64")
    g.output(ops.sin(ops.tanh(ops.reshape(p, shape=(3,)) if through_view else p, name="t"), name="y"))
    fn = prepared(g)
    new, at = len(fn.names), 1 + [n.name for n in fn.nodes].index(after)
    sgd = registry.get("sgd")
    update = Node("new", sgd, (fn.value_id("p"), fn.value_id(gradient)), (new,), sgd.check_attributes({"lr": 0.5}))
    specs = [*fn.specs, fn.specs[fn.value_id("p")]]
    nodes = [*fn.nodes[:at], update, *fn.nodes[at:]]
    return fn.with_nodes(nodes, names=[*fn.names, "new"], specs=specs, outputs={**fn.outputs, "new": new})


def test_nothing_moves_over_an_update_of_what_it_reads(prepared, execute, eager):
    fn = superinstructions(with_update(prepared, "x", after="t"))
    assert calls_of(fn) == ["tanh", "sgd", "sin"]
    found = execute(fn, {"p": P, "x": X})
    np.testing.assert_allclose(found["y"], np.sin(np.tanh(P)))
    np.testing.assert_allclose(found["new"], P - 0.5 * X)


@pytest.mark.parametrize("through_view", [False, True])
def test_an_update_takes_in_what_makes_its_gradient(through_view, prepared, execute, eager):
    """Element by element it reads before it writes; a view of what it writes might be read in another order."""
    fn = superinstructions(with_update(prepared, "y", after="y", through_view=through_view))
    assert calls_of(fn)[-1] == (["tanh", "sin", "sgd"] if not through_view else "sgd")
    found = execute(fn, {"p": P, "x": X})
    np.testing.assert_allclose(found["y"], np.sin(np.tanh(P)))
    np.testing.assert_allclose(found["new"], P - 0.5 * np.sin(np.tanh(P)))


def test_equal_patterns_are_one_op_however_they_came_about(prepared):
    fn = superinstructions(backward(random_dag(7, 900), prepared, ["p0"]))
    found = {id(n.op): n.op for n in fn.nodes if isinstance(n.op, FusedOp)}.values()
    kinds = [(tuple((c.op.name, c.arguments) for c in op.calls), op.results, op.updates) for op in found]
    assert len(kinds) == len(set(kinds)) >= 2
    assert all(count >= 10 for count in Counter(id(n.op) for n in fn.nodes if isinstance(n.op, FusedOp)).values())


def test_there_is_a_budget(prepared, monkeypatch):
    fn = backward(random_dag(1, 600), prepared, ["p0"])
    fused = lambda: {id(n.op) for n in superinstructions(fn).nodes if isinstance(n.op, FusedOp)}  # noqa: E731 - asked twice
    monkeypatch.setattr(module, "MAX_KERNELS", 1)
    assert len(fused()) == 1
    monkeypatch.setattr(module, "MAX_NODES_PER_PAIR", 1)
    assert len(fused()) == 0


def test_other_graphs_stay_as_they_are(prepared):
    few, large, named = random_dag(0, 90), random_dag(0, 500, shape=(300,)), gx.Graph("named")
    x = named.input("x", ("n", 3))
    for _ in range(400):
        x = ops.sin(ops.tanh(x))
    named.output(x)
    for fn in (prepared(few), prepared(large), prepared(named, n=4)):
        assert superinstructions(fn) is fn


def test_a_value_with_many_readers_and_long_chains_cost_no_more(prepared, monkeypatch):
    """How often pairs are looked at grows with the number of nodes, not faster."""
    looks = []
    real = module.Merging.look
    monkeypatch.setattr(module.Merging, "look", lambda self, first: looks.append(first) or real(self, first))
    counts = []
    for size in (500, 2000):
        g = gx.Graph("hub")
        x = hub = g.input("x", (4,), "float64")
        hub = ops.tanh(x)
        for _ in range(size):
            x = ops.multiply(ops.sin(x), hub)
        g.output(x)
        looks.clear()
        merged = superinstructions(prepared(g))
        assert len(merged.nodes) < size
        counts.append(len(looks))
    assert counts[1] < 5 * counts[0]


def test_any_number_of_threads_gives_the_same_bits():
    found = []
    for threads in (1, 2, 3):
        g = random_dag(3, 500)
        large = g.parameter("large", value=np.linspace(-1, 1, 60_000))
        g.output(ops.add(ops.sum(ops.exp(large)), g["loss"], name="total"))
        exe = gx.compile(g, loss="total", optimizer=gx.Adam(lr=0.01), threads=threads)
        for _ in range(3):
            exe.step()
        assert any(isinstance(i.node.op, FusedOp) and len(i.node.op.calls) > 1 for i in exe.program.instructions)
        assert all(isinstance(i.node.op, ElementwiseOp) for i in exe.program.instructions if i.node.op.name == "fused")
        found.append({name: array.tobytes() for name, array in exe.parameters.items()})
    assert found[0] == found[1] == found[2]


def test_a_step_is_what_it_is_without_the_pass():
    found = []
    for skip in ((), ("superinstructions",), ("superinstructions", "cluster_kernels", "fuse")):
        exe = gx.compile(random_dag(5, 600), loss="loss", optimizer=gx.SGD(lr=0.01), skip_passes=skip)
        for _ in range(4):
            exe.step()
        exe.program.check()
        found.append((len(exe.program.instructions), dict(exe.parameters)))
    assert found[0][0] < found[1][0] - 100
    for name, array in found[2][1].items():
        np.testing.assert_allclose(found[0][1][name], array, rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(found[1][1][name], array, rtol=1e-9, err_msg=name)
