"""fuse: what becomes one kernel, what does not, and that the numbers stay."""

import sys

import numpy as np
import pytest
from helpers.graphs import RandomGraph
from helpers.run import differentiated, op_names

import graphexec as gx
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.rewrite import required
from graphexec.rewrite.fusion.elementwise import fuse
from graphexec.rewrite.fusion.scheduler import MAX_CALLS

ops = gx.ops


def chain(dtype="float64", shape=(3, 4)):
    g = gx.Graph("chain")
    x, y = g.input("x", shape, dtype), g.input("y", shape, dtype)
    z = ops.multiply(ops.tanh(x) + y, x, name="z")
    g.output(z)
    return g, z


def test_a_chain_is_one_kernel_that_stores_its_end_only(prepared, agrees, rng):
    g, _ = chain()
    fn = fuse(prepared(g))
    (node,) = fn.nodes
    assert isinstance(node.op, FusedOp)
    assert [c.op.name for c in node.op.calls] == ["tanh", "add", "multiply"]
    assert [fn.names[v] for v in node.outputs] == ["z"]
    agrees(g, fn, {"x": rng.standard_normal((3, 4)), "y": rng.standard_normal((3, 4))})


def test_a_value_that_is_kept_is_stored(prepared):
    g = gx.Graph("kept")
    x = g.input("x", (3,))
    t = ops.tanh(x, name="t")
    g.output(ops.sin(ops.exp(t), name="y"))
    fn = prepared(g)
    (node,) = fuse(fn, [fn.value_id("t")]).nodes
    assert sorted(fn.names[v] for v in node.outputs) == ["t", "y"]


def test_a_full_sum_closes_a_kernel(prepared, agrees, rng):
    g, z = chain(shape=(50, 400))
    g.output(ops.sum(z, name="s"))
    fn = fuse(prepared(g))
    assert op_names(fn) == ["fused", "sum"]  # the second adds the partial results
    assert len(fn.nodes[0].op.closings) == 1
    agrees(g, fn, {"x": rng.standard_normal((50, 400)), "y": rng.standard_normal((50, 400))}, rtol=1e-12)


def test_parts_do_not_reach_over_what_is_not_elementwise(prepared, agrees, rng):
    """tanh -> matmul -> add, where add reads tanh too: one kernel of both would have to run before and after the product."""
    g = gx.Graph("convex")
    x = g.input("x", (3, 3), "float64")
    t = ops.tanh(x)
    g.output(ops.add(t @ t, t, name="y"), ops.exp(t, name="e"))
    fn = fuse(prepared(g))
    assert op_names(fn) == ["fused", "matmul", "add"]
    agrees(g, fn, {"x": rng.standard_normal((3, 3))})


def test_shapes_that_differ_stay_apart_and_broadcasting_stays(prepared, agrees, rng):
    g = gx.Graph("broadcast")
    x, row = g.input("x", (5, 4), "float64"), g.input("row", (4,), "float64")
    bent = ops.cos(ops.tanh(row))
    g.output(ops.sin(ops.exp(x) + bent, name="y"))
    fn = fuse(prepared(g))
    assert [(len(n.op.calls), fn.specs[n.outputs[0]].shape) for n in fn.nodes] == [(2, (4,)), (3, (5, 4))]
    agrees(g, fn, {"x": rng.standard_normal((5, 4)), "row": rng.standard_normal(4)})


def test_the_same_structure_is_one_op(prepared):
    g = gx.Graph("same")
    x = g.input("x", (4,))
    w = g.input("w", (4, 4))
    for _ in range(6):
        x = ops.tanh(x) + 1.0
        x = ops.reshape(ops.matmul(ops.expand_dims(x, axis=0), w), shape=(4,))
    g.output(x)
    fn = fuse(prepared(g))
    fused = [n.op for n in fn.nodes if isinstance(n.op, FusedOp)]
    assert len(fused) == 6
    assert len(set(map(id, fused))) == 1


def test_a_part_has_a_limit(prepared, agrees, rng):
    g = gx.Graph("long")
    x = y = g.input("x", (8,), "float64")
    for k in range(3 * MAX_CALLS):
        y = ops.sin(y) if k % 2 else ops.tanh(y)
    g.output(ops.add(y, x, name="y"))
    fn = fuse(prepared(g))
    assert len(fn.nodes) > 1
    assert all(len(n.op.calls) <= MAX_CALLS for n in fn.nodes if isinstance(n.op, FusedOp))
    agrees(g, fn, {"x": rng.standard_normal(8)}, rtol=1e-12)


def test_many_small_different_parts_keep_their_plain_kernels(prepared, monkeypatch):
    """Beyond the budget only what saves much memory traffic is compiled."""
    monkeypatch.setattr(sys.modules["graphexec.rewrite.fusion.scheduler"], "MAX_FREE_KERNELS", 2)
    kinds = [ops.sin, ops.cos, ops.tanh, ops.exp, ops.square, ops.negate]
    g = gx.Graph("many")
    x, big = g.input("x", (4,)), g.input("big", (1000, 1000))
    for first in kinds:
        for second in kinds:
            x = ops.reshape(ops.sum(ops.reshape(second(first(x)), shape=(4, 1)), axis=1), shape=(4,))
    g.output(x, ops.sin(ops.sigmoid(big), name="large"))
    fused = [n for n in fuse(prepared(g)).nodes if isinstance(n.op, FusedOp)]
    assert [len(n.op.calls) for n in fused] == [2]
    assert fused[0].name == "large"


def test_updates_wait_for_those_who_read_the_old_value():
    """d_p = q and d_q = p: each update overwrites what the other's gradient reads."""
    found = []
    for optimize in (False, True):
        g = gx.Graph("hazard")
        p, q = g.parameter("p", value=np.array([1.0, 2.0, 3.0])), g.parameter("q", value=np.array([10.0, 20.0, 30.0]))
        g.output(ops.sum(p * q, name="loss"))
        exe = gx.compile(g, loss="loss", optimizer=gx.SGD(lr=0.5), optimize=optimize)
        exe.step()
        found.append(dict(exe.parameters))
    for parameters in found:
        np.testing.assert_array_equal(parameters["p"], [-4.0, -8.0, -12.0])
        np.testing.assert_array_equal(parameters["q"], [9.5, 19.0, 28.5])


@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_give_the_same_fused_and_unfused(seed, prepared, execute):
    random = RandomGraph(seed, "float64")
    fn = prepared(random.graph, batch=random.batch)
    fn = differentiated(fn, "w", "b", "x")
    wanted = {**fn.outputs, **{f"d_{n}": v for n, v in fn.gradients.items()}}
    fn = required(fn.with_nodes(fn.nodes, outputs=wanted))
    arrays = {**random.inputs, **random.parameters}
    plain, fused = execute(fn, arrays), execute(fuse(fn), arrays)
    assert len(fuse(fn).nodes) < len(fn.nodes)
    for name, array in plain.items():
        np.testing.assert_allclose(fused[name], array, rtol=1e-10, atol=1e-11, err_msg=name)
