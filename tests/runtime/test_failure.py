"""Errors of kernels in the user's terms: the node that was written, the input, the place, the value."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.eager import compute
from graphexec.ir.registry import registry
from graphexec.plugin import composite, kernel, ops


def labels_graph():
    g = gx.Graph("g")
    scores, label = g.input("scores", ("n", 3)), g.input("label", ("n",), "int64")
    g.output(gx.ops.softmax_cross_entropy(scores, label, name="loss"))
    return gx.compile(g, loss="loss", wrt=["scores"], threads=1)


def test_a_label_is_named_by_input_row_and_value():
    """Labels from 1 to 3 for three classes."""
    scores, label = np.zeros((5, 3), "float32"), np.array([1, 2, 2, 3, 1])
    for call in (labels_graph(), labels_graph().gradients):
        with pytest.raises(gx.KernelError) as caught:
            call(scores=scores, label=label)
        assert (caught.value.node, caught.value.op) == ("loss", "softmax_cross_entropy")
        assert "label[3] = 3" in caught.value.facts
        assert (caught.value.operand, caught.value.index) == ("label", (3,))
        assert "loss." not in str(caught.value)


@pytest.mark.parametrize(("indices", "at"), [([0, 7, 1], (1,)), ([[0, 1], [2, -9]], (1, 1))])
def test_an_index_is_named(indices, at):
    indices = np.asarray(indices)
    g = gx.Graph("g")
    table, which = g.input("table", (4, 2)), g.input("which", tuple("ab"[: indices.ndim]), "int64")
    g.output(gx.ops.gather(table, which, name="rows"))
    with pytest.raises(gx.KernelError) as caught:
        gx.compile(g, threads=1)(table=np.zeros((4, 2), "float32"), which=indices)
    assert caught.value.node == "rows"
    assert f"which[{', '.join(map(str, at))}] = {indices[at]}" in caught.value.facts


def test_a_row_is_shown_whole(registry_kept):
    """A kernel over rows that refuses one."""

    @kernel("(c)->(c)", reference=np.asarray, domain=(0.0, 1.0), differentiable=False, errors={1: "a row is negative"})
    def rows_of_this_test(y, out):
        for j in range(y.size):
            if y[j] < 0:
                return 1
            out[j] = y[j]
        return 0

    gx.register(rows_of_this_test)
    y = np.arange(12.0).reshape(2, 2, 3)
    y[1, 0, 2] = -1.0
    g = gx.Graph("g")
    g.output(rows_of_this_test(g.input("y", (2, 2, 3), "float64"), name="checked"))
    with pytest.raises(gx.KernelError, match="node 'checked'") as caught:
        gx.compile(g, threads=1)(y=y)
    assert "y[1, 0] = [6.0, 7.0, -1.0]" in caught.value.facts


def test_nested_composites_are_named_by_the_node_that_was_written(registry_kept):
    @composite(domain=(-1.0, 1.0), differentiable=False)
    def inner_of_this_test(x, which):
        return ops.gather(x, which)

    @composite(domain=(-1.0, 1.0), differentiable=False)
    def outer_of_this_test(x, which):
        return inner_of_this_test(x, which) * 2.0

    gx.register(inner_of_this_test)
    gx.register(outer_of_this_test)
    g = gx.Graph("g")
    x, which = g.input("x", (3,)), g.input("which", (2,), "int64")
    g.output(gx.ops.sum(outer_of_this_test(x, which, name="my.node"), name="s"))
    with pytest.raises(gx.KernelError) as caught:
        gx.compile(g, threads=1)(x=np.zeros(3, "float32"), which=np.array([0, 5]))
    assert (caught.value.node, caught.value.op) == ("my.node", "outer_of_this_test")
    assert "which[1] = 5" in caught.value.facts


BAD = {  # operands that each op refuses, attributes, and the line that says where
    "class_labels": ([np.array([0, 3, 1]), np.arange(3, dtype="int32")], {}, "[1] = 3"),
    "gather": ([np.zeros((4, 2)), np.array([0, -5])], {"axis": 0}, "[1] = -5"),
    "scatter_sums": ([np.zeros((2, 3)), np.array([0, 4]), np.zeros((4, 3))], {"axis": 0}, "[1] = 4"),
    "target_probabilities": ([np.array([[0.5, 1.0], [0.0, 1.5]])], {}, "[1, 1] = 1.5"),
    "target_rows": ([np.array([[0.5, 0.5], [0.5, 0.6]])], {}, "[1] = [0.5, 0.6]"),
}
ELSEWHERE = {
    "take_batch": "the data of a training: its rows are numbered by the engine",
    "accumulate_finite": "the loss of a training: an error of the loop names it",
    "shuffle": "it refuses a size, not a value",
}


def test_every_op_that_refuses_values_is_in_a_table():
    assert sorted(BAD.keys() | ELSEWHERE.keys()) == sorted(name for name in registry.names() if registry.get(name).errors)


@pytest.mark.parametrize("name", BAD)
def test_every_op_that_refuses_values_says_where(name):
    operands, attributes, line = BAD[name]
    op = registry.get(name)
    with pytest.raises(gx.KernelError) as caught:
        compute(op, operands, op.check_attributes(attributes))
    assert caught.value.op == name
    assert any(fact.endswith(line) for fact in caught.value.facts), caught.value.facts
