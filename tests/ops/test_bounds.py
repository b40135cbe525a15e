"""Kernels that compute an address from a value: none leaves its arrays, whatever the value."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.graph.file.read import loads

N = 5
OUTSIDE = [-(2**63), -(2**63) + 1, -(2**62), -(2**32), -N - 1, N, N + 1, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - N, 2**63 - 1]
ROWS = np.arange(3.0 * N).reshape(N, 3)


def narrow(values, dtype):
    info = np.iinfo(dtype)
    return [v for v in values if info.min <= v <= info.max]


def refused(words, call):
    with pytest.raises(gx.KernelError, match=words):
        call()


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_indices_outside_are_refused_and_those_inside_are_numpys(dtype):
    for index in range(-N, N):
        which = np.array([0, index], dtype)
        np.testing.assert_array_equal(gx.ops.gather(ROWS, which), ROWS[which])
        added = gx.ops.scatter_add(np.ones((2, 3)), which, ROWS)
        assert added.sum() == 6.0
        assert added[index].min() >= 1.0
    for index in narrow(OUTSIDE, dtype):
        which = np.array([0, index], dtype)
        refused("an index is out of range", lambda which=which: gx.ops.gather(ROWS, which))
        refused("an index is out of range", lambda which=which: gx.ops.gather(ROWS, which[1:], axis=1))
        refused("an index is out of range", lambda which=which: gx.ops.scatter_add(np.ones((2, 3)), which, ROWS))


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_labels_outside_are_refused(dtype):
    for label in narrow([*OUTSIDE, -1], dtype):
        labels = np.array([0, label], dtype)
        refused("a label is not between", lambda labels=labels: gx.ops.class_labels(labels, np.arange(N, dtype="int32")))
        refused("a label is not between", lambda labels=labels: gx.ops.softmax_cross_entropy(np.ones((2, N)), labels))
        np.testing.assert_array_equal(gx.ops.one_hot(labels, depth=N), [[1, 0, 0, 0, 0], [0] * N])


def test_cursors_and_orders_outside_are_refused():
    order = np.arange(N)[::-1].copy()
    for cursor in range(N - 1):
        np.testing.assert_array_equal(gx.ops.take_batch(ROWS, order, np.array(cursor), batch=2), ROWS[order[cursor : cursor + 2]])
    for value in [*OUTSIDE, -1, N - 1, 2**63 - 2]:
        refused("past the end", lambda value=value: gx.ops.take_batch(ROWS, order, np.array(value), batch=2))
    for value in [*OUTSIDE, -1]:
        refused("past the end", lambda value=value: gx.ops.take_batch(ROWS, np.full(N, value), np.array(0), batch=2))
    assert gx.ops.take_batch(ROWS, order, np.array(N), batch=0).shape == (0, 3)


def test_places_in_windows_outside_are_nothing():
    where = {"size": (1, 1, 2), "strides": (1, 1, 1), "padding": (0,) * 6, "dilations": (1, 1, 1)}
    x = np.arange(1.0, 4.0).reshape(1, 1, 1, 1, 3)
    for value in narrow([*OUTSIDE, -1, 2], "int32"):
        index = np.full((1, 1, 1, 1, 2), value, "int32")
        assert not gx.ops.gather_windows(x, index, **where).any()
        assert not gx.ops.scatter_windows(np.ones(index.shape), index, x, **where).any()


BOUNDS = [None, 0, 1, N - 1, N, N + 1, -1, -N, -N - 1, 2**62, 2**63 - 1, -(2**62), -(2**63)]


@pytest.mark.parametrize("step", [1, 2, -1, -3, 2**62, 2**63 - 1, -(2**62), -(2**63)])
def test_bounds_of_slices_are_clipped_as_numpys(step):
    for start in BOUNDS:
        for end in BOUNDS:
            part = ROWS[start:end:step]
            np.testing.assert_array_equal(gx.ops.slice(ROWS, starts=start, ends=end, axes=0, steps=step), part)
            wanted = np.zeros_like(ROWS)
            wanted[start:end:step] = part
            np.testing.assert_array_equal(gx.ops.unslice(part, ROWS, axis=0, start=start, end=end, step=step), wanted)


def test_a_step_of_zero_is_refused():
    with pytest.raises(gx.OpError):
        gx.ops.slice(ROWS, starts=0, ends=1, steps=0)
    with pytest.raises(gx.ShapeError):
        gx.ops.unslice(ROWS, ROWS, axis=0, start=0, end=N, step=0)


ENGINE = ["take_batch", "accumulate", "accumulate_finite", "advance", "increment", "shuffle", "matmul_add", "control_dependency"]
FILE = """graphexec: 1
inputs: {{data: "float32[8, 2]", order: "int64[8]", cursor: int64}}
nodes:
  rows: {op}(data, order, cursor)
"""


@pytest.mark.parametrize("op", ENGINE)
def test_what_only_the_engine_writes_cannot_be_named(op):
    assert gx.ops[op].internal
    with pytest.raises(gx.OpError, match=f"only the engine writes nodes of the op '{op}'"):
        loads(FILE.format(op=op))
    with pytest.raises(gx.OpError) as caught:
        loads(FILE.format(op=op[:-1]))
    assert op not in str(caught.value)  # nor is it offered in place of a misspelt name
    g = gx.Graph()
    with pytest.raises(gx.OpError, match="only the engine"):
        g.apply(gx.ops[op], [g.input(name, (2,), "int64") for name in gx.ops[op].inputs])


def test_a_differentiated_graph_names_no_op_of_the_engine(tmp_path):
    g = gx.Graph()
    x, w = g.input("x", (2, 1, 6, 6)), g.parameter("w", (2, 1, 3, 3), init="normal")
    y = gx.ops.max_pool(gx.ops.conv(x, w), kernel=2)
    g.output(gx.ops.sum(gx.ops.softmax(gx.ops.flatten(y[:, :, ::-1])) ** 2.0, name="loss"))
    d = gx.differentiate(g, of="loss", wrt=["w"])
    d.save(tmp_path / "d.yaml")
    again = gx.load(tmp_path / "d.yaml")
    assert not {gx.ops[data["op"]] for _, data in again.dag.nodes(data=True) if data["op"] in ENGINE}
    a = np.random.default_rng(0).standard_normal((2, 1, 6, 6))
    for first, second in zip(gx.compile(d)(x=a).values(), gx.compile(again)(x=a).values(), strict=True):
        np.testing.assert_array_equal(first, second)
