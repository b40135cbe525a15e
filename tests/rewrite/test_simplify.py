"""Each pass on a tiny graph: it does what its first line says, and the result stays what the interpreter gives."""

import itertools

import numpy as np
import pytest
from helpers.run import differentiated, op_names

import graphexec as gx
from graphexec.ir.registry import registry
from graphexec.rewrite import optimize, required
from graphexec.rewrite.legalize.expand_add_n import expand_add_n
from graphexec.rewrite.legalize.inline_composites import inline_composites
from graphexec.rewrite.legalize.move_axis_last import move_axis_last
from graphexec.rewrite.legalize.unify_dtypes import unify_dtypes
from graphexec.rewrite.simplify.concat_of_slices import concat_of_slices
from graphexec.rewrite.simplify.dce import dce
from graphexec.rewrite.simplify.gemm_accumulate import gemm_accumulate
from graphexec.rewrite.simplify.hoist_shape_operands import hoist_shape_operands
from graphexec.rewrite.simplify.rank1_matmul import rank1_matmul

ops = gx.ops


def graph_of(*shapes, dtype="float64"):
    """A graph with inputs a, b, ... of given shapes."""
    g = gx.Graph("tiny")
    return g, [g.input(name, shape, dtype) for name, shape in zip("abcdef", shapes, strict=False)]


# -- expand


def test_expand_leaves_no_composite(prepared, agrees, rng):
    g, (x, w, b) = graph_of((3, 2), (4, 2), (4,))
    g.output(ops.linear(x, w, b, name="z"))
    fn = prepared(g)
    assert op_names(fn) == ["transpose", "matmul", "add"]
    assert fn.nodes[-1].name == "z"
    agrees(g, fn, {"a": rng.standard_normal((3, 2)), "b": rng.standard_normal((4, 2)), "c": rng.standard_normal(4)})
    assert inline_composites(fn) is fn


# -- prune


def test_prune_drops_what_nothing_wants(prepared, agrees, rng):
    g, (x,) = graph_of((3,))
    ops.exp(ops.tanh(x) + 2.0)
    g.output(ops.sin(x, name="y"))
    fn = dce(prepared(g))
    assert op_names(fn) == ["sin"]
    assert [leaf.role for leaf in fn.leaves] == ["input"]  # the constant is gone, the input stays
    agrees(g, fn, {"a": rng.standard_normal(3)})


def test_prune_keeps_what_it_is_told_to(prepared):
    g, (x,) = graph_of((3,))
    t = ops.tanh(x, name="t")
    ops.exp(t)
    g.output(ops.sin(x))
    fn = prepared(g)
    assert op_names(dce(fn, [fn.value_id("t")])) == ["tanh", "sin"]


def test_prune_keeps_updates(prepared):
    g = gx.Graph("update")
    p, d = g.parameter("p", (3,)), g.input("d", (3,))
    ops.sgd(p, ops.negate(d), lr=0.5)
    assert op_names(dce(prepared(g))) == ["negate", "sgd"]


# -- pairwise


def test_pairwise_adds_first_to_last(prepared, execute, rng):
    g, values = graph_of((5,), (5,), (5,), (5,))
    g.output(ops.add_n(*values, name="total"))
    fn = expand_add_n(prepared(g))
    assert op_names(fn) == ["add", "add", "add"]
    arrays = {name: rng.standard_normal(5) for name in "abcd"}
    a, b, c, d = arrays.values()
    np.testing.assert_array_equal(execute(fn, arrays)["total"], ((a + b) + c) + d)


def test_a_term_is_added_as_soon_as_it_is_there(prepared, agrees, rng):
    g, (x,) = graph_of((5,))
    terms = [ops.sin(x), ops.exp(x), ops.tanh(x)]
    total = ops.add_n(*terms)
    g.output(ops.add_n(x, x, total, ops.cos(x), name="y"))
    fn = expand_add_n(prepared(g))
    assert op_names(fn) == ["sin", "exp", "add", "tanh", "add", "cos", "add", "add", "add"]
    agrees(g, fn, {"a": rng.standard_normal(5)})


def test_pairwise_leaves_others_alone(prepared):
    g, (x,) = graph_of((5,))
    g.output(ops.tanh(x))
    fn = prepared(g)
    assert expand_add_n(fn) is fn


# -- outer_products


def test_an_inner_axis_of_size_1_becomes_a_multiplication(prepared, agrees, rng):
    g, (x, y) = graph_of((3, 1), (1, 4))
    g.output(ops.matmul(x, y, name="z"))
    fn = rank1_matmul(prepared(g))
    assert op_names(fn) == ["multiply"]
    agrees(g, fn, {"a": rng.standard_normal((3, 1)), "b": rng.standard_normal((1, 4))})


def test_an_inner_axis_whose_size_is_not_known_stays_a_product(prepared):
    g, (x, y) = graph_of((3, "k"), ("k", 4))
    g.output(ops.matmul(x, y))
    assert op_names(rank1_matmul(prepared(g))) == ["matmul"]
    assert op_names(rank1_matmul(prepared(g, k=2))) == ["matmul"]


# -- accumulate


def test_products_that_meet_in_a_sum_are_added_in_place(prepared, agrees, rng):
    g, (a, b, c) = graph_of((3, 4), (4, 2), (4, 2))
    g.output(ops.add_n(a @ b, a @ c, a @ (b * c), name="z"))
    fn = gemm_accumulate(expand_add_n(prepared(g)))
    assert sorted(op_names(fn)) == ["matmul", "matmul_add", "matmul_add", "multiply"]
    agrees(g, fn, {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal((4, 2)), "c": rng.standard_normal((4, 2))})


def test_a_product_that_others_read_is_not_lost(prepared, agrees, rng):
    g, (a, b) = graph_of((3, 4), (4, 2))
    z = ops.matmul(a, b, name="z")
    g.output(ops.add(ops.matmul(ops.sin(a), b), z, name="y"), ops.exp(z, name="e"))
    fn = gemm_accumulate(prepared(g))
    assert "matmul_add" not in op_names(fn)
    agrees(g, fn, {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal((4, 2))})


def test_an_operand_of_the_graph_is_not_added_to(prepared, agrees, rng):
    g, (a, b, c) = graph_of((3, 4), (4, 2), (3, 2))
    g.output(ops.add(c, a @ b, name="y"))
    fn = gemm_accumulate(prepared(g))
    assert op_names(fn) == ["matmul", "add"]
    agrees(g, fn, {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal((4, 2)), "c": rng.standard_normal((3, 2))})


@pytest.mark.parametrize("cuts", [(0, 2, 5), (0, 3, 4, 5), (0, 2, 4), (1, 2, 5), (0, 5)])
def test_deltas_of_slices_that_tile_a_value_are_laid_side_by_side(prepared, execute, rng, cuts):
    """Only where they cover it: with a gap they stay a sum."""
    g, (x,) = graph_of((3, 5))
    parts = [ops.sum(ops.sin(x[:, low:high]) * float(high)) for low, high in itertools.pairwise(cuts)]
    g.output(ops.add_n(*parts, name="loss"))
    fn = prepared(g)
    fn = differentiated(fn, "a")
    fn = fn.with_nodes(fn.nodes, outputs={**fn.outputs, "d_a": fn.gradients["a"]})
    tiled = concat_of_slices(fn)
    covered = cuts[0] == 0 and cuts[-1] == 5 and len(cuts) > 2
    assert ("concat" in op_names(tiled)) == covered
    a = rng.standard_normal((3, 5))
    scale = np.zeros(5)
    for low, high in itertools.pairwise(cuts):
        scale[low:high] = high
    for rewritten in (required(fn), required(tiled), optimize(fn)):
        np.testing.assert_allclose(execute(rewritten, {"a": a})["d_a"], np.cos(a) * scale, rtol=1e-13)


# -- last_axis


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_the_axis_of_a_kernel_moves_to_the_end(prepared, agrees, rng, axis):
    g, (x,) = graph_of((2, 3, 4))
    g.output(ops.softmax(x, axis=axis, name="y"))
    fn = move_axis_last(prepared(g))
    assert op_names(fn) == ["swap_axes", "softmax", "swap_axes"]
    assert fn.nodes[1].attributes["axis"] == -1
    agrees(g, fn, {"a": rng.standard_normal((2, 3, 4))})


def test_a_last_axis_stays(prepared):
    g, (x,) = graph_of((2, 3))
    g.output(ops.softmax(x, axis=1))
    fn = prepared(g)
    assert move_axis_last(fn) is fn


# -- same_types


def test_operands_of_two_types_are_converted(prepared, agrees, rng):
    g = gx.Graph("types")
    a, b = g.input("a", (2, 3), "float32"), g.input("b", (3, 2), "float64")
    g.output(ops.matmul(a, b, name="z"))
    fn = unify_dtypes(prepared(g))
    assert op_names(fn) == ["cast", "matmul"]
    assert {fn.specs[v].dtype for v in fn.nodes[-1].inputs} == {"float64"}
    agrees(g, fn, {"a": rng.standard_normal((2, 3)).astype("float32"), "b": rng.standard_normal((3, 2))})


def test_elementwise_operands_are_converted_as_they_load(prepared, agrees, rng):
    g = gx.Graph("types")
    a, b = g.input("a", (3,), "float32"), g.input("b", (3,), "float64")
    g.output(ops.add(a, b, name="z"))
    fn = prepared(g)
    assert unify_dtypes(fn) is fn
    agrees(g, fn, {"a": rng.standard_normal(3).astype("float32"), "b": rng.standard_normal(3)})


# -- hoist_shape_operands


def test_a_shape_is_lent_by_the_first_value_that_has_it(prepared, agrees, rng):
    g, (x, row) = graph_of((3, 4), (4,))
    late = ops.exp(ops.tanh(x))
    g.output(ops.broadcast_like(row, late, name="y"), late)
    fn = hoist_shape_operands(prepared(g))
    node = next(n for n in fn.nodes if n.op.name == "broadcast_like")
    assert fn.names[node.inputs[1]] == "a"
    assert fn.names[node.inputs[0]] == "b"
    agrees(g, fn, {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(4)})


def test_what_only_lent_its_shape_is_not_computed(prepared, agrees, rng):
    g, (x, row) = graph_of((3, 4), (4,))
    g.output(ops.broadcast_like(row, ops.exp(ops.tanh(x)), name="y"))
    fn = optimize(prepared(g))
    assert op_names(fn) == ["broadcast_like"]
    agrees(g, fn, {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(4)})


# -- all of them


def test_required_is_enough_to_lower_everything(prepared, agrees, rng):
    g = gx.Graph("all")
    a, b = g.input("a", (3, 4), "float32"), g.input("b", (4, 3), "float64")
    z = ops.softmax(ops.matmul(a, b), axis=0)
    g.output(ops.add_n(z, ops.tanh(z), z, name="y"))
    arrays = {"a": rng.standard_normal((3, 4)).astype("float32"), "b": rng.standard_normal((4, 3))}
    agrees(g, required(prepared(g)), arrays)
    agrees(g, optimize(prepared(g)), arrays)


def test_no_pass_changes_the_registry_or_the_order_that_it_is_given(prepared):
    g, (x, y) = graph_of((3, 1), (1, 4))
    g.output(ops.sum(ops.add_n(x @ y, ops.softmax(x @ y, axis=0), x @ y), name="s"))
    fn, known = prepared(g), registry.names()
    before = [(n.name, n.op.name, n.inputs, n.outputs, dict(n.attributes)) for n in fn.nodes]
    optimize(fn)
    assert [(n.name, n.op.name, n.inputs, n.outputs, dict(n.attributes)) for n in fn.nodes] == before
    assert registry.names() == known


def test_a_transposed_product_is_computed_the_other_way_round():
    """(a b)ᵀ = bᵀ aᵀ; a product that something else reads too stays."""
    g = gx.Graph("turned")
    x, w = g.input("x", (5, 4), "float64"), g.parameter("w", value=np.arange(12.0).reshape(3, 4))
    g.output(gx.ops.linear(x, w).sum(), (x @ w.T).T * 2.0, gx.ops.add((x @ w.T).sum(), 1.0))
    exe = gx.compile(g, loss=g.outputs[0], wrt=["w"])
    x_value = np.random.default_rng(0).normal(size=(5, 4))
    _, gradients = exe.gradients(x=x_value)
    np.testing.assert_allclose(gradients["w"], np.tile(x_value.sum(0), (3, 1)), rtol=1e-12)
    made = [i.node for i in exe.program.instructions if i.node.op.name == "matmul"]
    assert all(exe.program.layout.views[n.outputs[0]].is_contiguous for n in made)
    out = exe(x=x_value)
    np.testing.assert_allclose(out[g.outputs[1]], (x_value @ np.arange(12.0).reshape(3, 4).T).T * 2, rtol=1e-12)
