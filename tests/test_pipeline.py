"""Compiling large graphs: what nodes have in common is worked out once, and the work grows with their number."""

import sys

import numpy as np
import pytest

import graphexec as gx
from graphexec import pipeline
from graphexec.errors import ShapeError
from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.infer import infer
from graphexec.ir.keys import Interner, shape_keys
from graphexec.ir.registry import registry
from graphexec.ir.spec import Size, Sizes, TensorSpec
from graphexec.lower.buffer_assignment import assign_buffers
from graphexec.lower.layout_assignment import assign_layout

NAMED, PLAIN = TensorSpec((Size(3, "n"), 2)), TensorSpec((3, 2))


def test_specs_that_are_the_same_are_one_object():
    interner = Interner()
    named, plain, again, wide = interner.all([NAMED, PLAIN, TensorSpec((Size(3, "n"), 2)), PLAIN._replace(dtype="float64")])
    assert named is again
    assert named is not plain  # equal as numbers
    assert wide is not plain
    assert interner.intern(TensorSpec((3, 2))) is plain


def test_keys_of_shapes_leave_out_the_type():
    keys = shape_keys([NAMED, PLAIN, PLAIN._replace(dtype="int64"), None, TensorSpec(())])  # None: a value that is pruned
    assert keys[1] == keys[2] != keys[0]
    assert keys[3:] == [None, ()]


def test_inferred_specs_are_shared_and_named_sizes_kept_apart():
    g = gx.Graph()
    a, b, c = g.input("a", ("n", 2)), g.input("b", (3, 2)), g.input("c", ("n", 2))
    x, y, z = gx.ops.tanh(a), gx.ops.tanh(b), gx.ops.tanh(c)
    fn = infer(g.function(), Sizes({"n": 3}))
    x, y, z = (fn.specs[fn.value_id(v.name)] for v in (x, y, z))
    assert x is z
    assert x is not y
    assert [getattr(n, "expression", None) for n in x.shape] == ["n", None]
    assert not any(isinstance(n, Size) for n in y.shape)


def test_added_nodes_are_inferred_by_what_their_operands_are():
    g = gx.Graph()
    g.output(g.input("a", ("n", 2)) + 1.0, g.input("b", (3, 2)), g.input("c", (4,)))
    fn = infer(g.function(), Sizes({"n": 3}))
    builder, add = FunctionBuilder(fn), registry.get("add")
    a, b, c = (fn.value_id(name) for name in "abc")
    sums = [builder.add(add, pair, {}).outputs[0] for pair in ((a, a), (b, b), (a, a))]
    first, second, third = (builder.specs[v] for v in sums)
    assert first is third
    assert isinstance(first.shape[0], Size)
    assert not isinstance(second.shape[0], Size)
    with pytest.raises(ShapeError, match=r"x = 'b'.*\(3, 2\) float32"):
        builder.add(add, (b, c), {})


def test_only_named_sizes_are_inferred_again(monkeypatch):
    inferred = []
    monkeypatch.setattr(pipeline, "infer", lambda fn, sizes: inferred.append(fn.name) or infer(fn, sizes))
    for name, axis in (("plain", 3), ("named", "n")):
        g = gx.Graph(name)
        g.output(gx.ops.tanh(g.input("x", (axis,)), name="y"))
        run = gx.compile(g)
        x = np.arange(3, dtype=np.float32)
        np.testing.assert_allclose(run(x=x)["y"], np.tanh(x), rtol=1e-6)
    run(x=np.arange(4, dtype=np.float32))
    assert inferred == ["plain", "named", "named", "named"]


@pytest.mark.parametrize("kind", ["gradients", "step"])
def test_calls_grow_with_the_number_of_nodes(kind):
    """Calls are counted, not timed: what looks at every node for each node would make sixteen times as many of four times."""
    few, many = calls(400, kind), calls(1_600, kind)
    assert 3 < many / few < 4.4, f"{few} and {many} calls"


def calls(nodes, kind):
    """How many functions are called while a graph of that many small nodes is compiled, but for its kernels."""
    rng, g = np.random.default_rng(7), gx.Graph()
    values = [g.parameter(f"p{k}", value=rng.standard_normal(4).astype(np.float32)) for k in range(5)]
    for k in range(nodes):
        x, y = (values[int(n)] for n in rng.integers(max(0, len(values) - 20), len(values), 2))
        values.append(gx.ops.tanh(x) if k % 3 else x * y if k % 2 else x + y)
    loss = sum(values[1:], start=values[0]).sum()
    g.output(loss)
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        fn = pipeline.Functions(g, loss.name, None, gx.SGD(lr=0.1), keep_deltas=False, skip=()).sized(kind, {})
        assign_buffers(assign_layout(fn), fn.live_out)
    finally:
        sys.setprofile(None)
    return count
