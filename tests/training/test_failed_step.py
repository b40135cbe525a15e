"""A step that fails changes nothing: errors in every instruction that can report one, with every optimizer."""

import itertools

import numpy as np
import pytest

import graphexec as gx
from graphexec.ir.failures import may_fail
from graphexec.ir.registry import registry
from graphexec.optim.optimizers import Optimizer
from graphexec.plugin import kernel

ops = gx.ops
FINE = 0
"""What trips no wire."""


@kernel(
    shape=lambda x, tripped, *, number: x.shape, reference=lambda x, tripped, *, number: x, types={"tripped": "int64"},
    domain={"x": (-1.0, 1.0), "tripped": (0, 1)}, errors={1: "a wire was tripped"},
)  # fmt: skip
def wire(x, tripped, out, *, number=0):
    out[...] = x  # before it fails, so that what follows would find something to work with
    if tripped.item() == number:
        return 1
    return 0


@wire.backward
def _(d_out, tripped, d_x, *, number):
    d_x[...] = d_out
    if tripped.item() == -number:
        return 1
    return 0


@kernel(
    "(n),()->(n)", reference=lambda x, tripped, *, number: x, types={"tripped": "int64"},
    domain={"x": (-1.0, 1.0), "tripped": (0, 1)}, errors={1: "a wire was tripped"},
)  # fmt: skip
def wires(x, tripped, out, *, number=0):
    """A wire for each row: threads share them, and one alone finds the row that it fails in."""
    for i in range(x.size):
        out[i] = x[i]
    if tripped.item() == number and x[0] < 0:
        return 1
    return 0


@wires.backward
def _(d_out, tripped, x, d_x, *, number):
    for i in range(x.size):
        d_x[i] = d_out[i]
    if tripped.item() == -number and x[0] > 0:
        return 1
    return 0


@kernel(
    "(n),(n),(n),()->(n),(n)", reference=lambda p, d, v, step, *, lr: (p - lr * d, v + d), outputs=("q", "w"), updates=("p", "v"),
    types={"step": "int64"}, domain=(-1.0, 1.0), differentiable=False, errors={3: "the gradient is not finite"},
)  # fmt: skip
def careful(p, d, v, step, q, w, *, lr=0.1):
    """An update rule that finds out too late that it cannot."""
    for i in range(p.size):
        q[i] = p[i] - lr * d[i] / step.item()
        w[i] = v[i] + d[i]
        if not np.isfinite(d[i]):
            return 3
    return 0


@pytest.fixture(autouse=True)
def _registered():
    before = registry.snapshot()
    gx.register(wire)
    gx.register(wires)
    gx.register(careful)
    yield
    registry.restore(before)


def network(size, width, across="wire"):
    """Two layers and an embedding, with a wire behind each value, and their number; ``across`` stands behind values with rows."""
    numbers = itertools.count(1)
    g = gx.Graph("wired")
    x, y, which = g.input("x", ("n", size)), g.input("y", ("n",), "int64"), g.input("which", ("n",), "int64")
    tripped = g.input("tripped", (), "int64")

    def wired(value, name=None):
        op = getattr(ops, across if value.shape[:1] == ("n",) else "wire")
        return op(value, tripped, number=next(numbers), name=name)

    table, w, b, v = (g.parameter(n, s, init="normal(std=0.3)") for n, s in {
        "table": (5, width), "w": (size, width), "b": (width,), "v": (width, 4)}.items())  # fmt: skip
    h = wired(wired(wired(x @ w) + b) + wired(ops.gather(table, which)))
    for _ in range(2):
        h = wired(ops.tanh(h))
    g.output(wired(ops.softmax_cross_entropy(wired(h @ wired(v)), y), "loss"))
    return g, next(numbers) - 1


def data_of(rows, size, **changes):
    rng = np.random.default_rng(5)
    found = {"x": rng.standard_normal((rows, size)).astype("f"), "y": rng.integers(0, 4, rows), "which": rng.integers(0, 5, rows)}
    return {**found, "tripped": np.array(FINE), **changes}


def bits(exe):
    return {name: array.tobytes() for name, array in exe.state().items()}


def rules():
    for name in registry.names():
        op = registry.get(name)
        if len(op.inputs) > 1 and op.updates[:1] == op.inputs[:1]:
            try:
                Optimizer(name)
            except gx.OpError:  # an attribute without a default
                continue
            if op.inputs[1] == "d":
                yield name


RULES = sorted({"adam", "adamw", "momentum", "sgd", "careful"})


def test_the_rules_are_all_that_there_are():
    assert sorted(rules()) == RULES


WAYS = [
    pytest.param(rule, optimize, recompute, marks=[] if optimize and recompute is None else pytest.mark.exhaustive)
    for rule in RULES for optimize in (True, False) for recompute in (None, 3)
]  # fmt: skip


@pytest.mark.parametrize(("rule", "optimize", "recompute"), WAYS)
def test_every_wire_leaves_the_state_as_it_was(rule, optimize, recompute):
    graph, count = network(3, 4)
    exe = gx.compile(graph, loss="loss", optimizer=rule, threads=1, optimize=optimize, recompute=recompute)
    exe.step(**data_of(6, 3))
    before = bits(exe)
    for number in (k * sign for k in range(1, count + 1) for sign in (1, -1)):
        with pytest.raises(gx.KernelError, match="a wire was tripped"):
            exe.step(**data_of(6, 3, tripped=np.array(number)))
        assert bits(exe) == before, number
    loss = exe.step(**data_of(6, 3))
    other = gx.compile(graph, loss="loss", optimizer=rule, threads=1, optimize=optimize, recompute=recompute)
    other.step(**data_of(6, 3))
    assert other.step(**data_of(6, 3)) == loss
    assert bits(other) == bits(exe)


@pytest.mark.parametrize("rule", ["adam", "careful"])
def test_threads_that_have_gone_on_change_nothing(rule):
    rows, size, width = 2_000, 32, 64
    graph, count = network(size, width, across="wires")
    exe = gx.compile(graph, loss="loss", optimizer=rule, threads=2)
    exe.step(**data_of(rows, size))
    assert exe.program.parallel
    exe.compiled.last.fix(2)
    before = bits(exe)
    for number in (k * sign for k in range(1, count + 1) for sign in (1, -1)):
        with pytest.raises(gx.KernelError, match="a wire was tripped"):
            exe.step(**data_of(rows, size, tripped=np.array(number)))
        assert bits(exe) == before, number
        assert exe.compiled.last.done == 0
    exe.step(**data_of(rows, size))
    other = gx.compile(graph, loss="loss", optimizer=rule, threads=1)
    for _ in range(2):
        other.step(**data_of(rows, size))
    assert bits(other) == bits(exe)


def test_an_update_that_fails_half_way_is_undone():
    g = gx.Graph("half")
    x = g.input("x", (3,))
    p, q = g.parameter("p", (3,), init="ones"), g.parameter("q", (2, 3), init="ones")
    g.output(ops.sum(ops.add(ops.log(x) * p, ops.sum(q, axis=0)), name="loss"))
    exe = gx.compile(g, loss="loss", optimizer="careful", threads=1)
    exe.step(x=np.array([1, 2, 3], "f"))
    before = bits(exe)
    assert len(before) == 5
    with pytest.raises(gx.KernelError, match="the gradient is not finite"):
        exe.step(x=np.array([1, -1, 3], "f"))
    assert bits(exe) == before


@pytest.mark.parametrize("rule", RULES)
def test_in_an_epoch_the_state_is_that_before_the_failed_batch(rule):
    g = gx.Graph("classes")
    x, y, w = g.input("x", ("n", 3)), g.input("y", ("n",), "int64"), g.parameter("w", (3, 4), init="normal")
    g.output(ops.softmax_cross_entropy(x @ w, y, name="loss"))
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((30, 3)).astype("f"), "y": rng.integers(0, 4, 30)}
    wrong = {**data, "y": np.where(np.arange(30) == 21, 9, data["y"])}
    exes = [gx.compile(g, loss="loss", optimizer=rule, threads=threads) for threads in (1, 2)]
    for exe in exes:
        exe.fit(data, epochs=1, batch_size=4, progress=False)
        with pytest.raises(gx.KernelError) as caught:
            exe.fit(wrong, epochs=3, batch_size=4, shuffle=False, progress=False, start_epoch=1)
        text = str(caught.value)
        assert "epoch 2, batch 6 of 8, row 21 of the data, counted from 0" in text
        assert "softmax_cross_entropy" in text
        assert "y[21] = 9" in text
    expected = gx.compile(g, loss="loss", optimizer=rule, threads=1)
    expected.fit(data, epochs=1, batch_size=4, progress=False)
    for k in range(5):
        expected.step(**{n: a[4 * k : 4 * k + 4] for n, a in data.items()})
    assert bits(exes[0]) == bits(exes[1]) == bits(expected)


def test_a_shuffled_row_is_named_by_its_place_in_the_data():
    g = gx.Graph("look_up")
    which, table = g.input("which", ("n",), "int64"), g.parameter("table", (4, 2), init="ones")
    g.output(ops.sum(ops.gather(table, which, name="found"), name="loss"))
    exe = gx.compile(g, loss="loss", optimizer="sgd", threads=1)
    for wrong in (0, 3, 16):
        with pytest.raises(gx.KernelError, match=rf"which\[{wrong}\] = -9\n.*row {wrong} of the data") as caught:
            exe.fit({"which": np.where(np.arange(17) == wrong, -9, 1)}, epochs=1, batch_size=5, progress=False)
        assert caught.value.node == "found"


def test_a_graph_without_failing_ops_keeps_its_order():
    g = gx.Graph("plain")
    x, w, v = g.input("x", ("n", 8)), g.parameter("w", (8, 8)), g.parameter("v", (8, 8))
    g.output(ops.mean(ops.tanh(x @ w) @ v, name="loss"))
    fn = gx.compile(g, loss="loss", optimizer="sgd").compiled.functions.of("step")
    assert not fn.saved
    assert not any(may_fail(node.op) for node in fn.nodes)
    first = next(k for k, node in enumerate(fn.nodes) if node.op.updates)
    assert any(not node.op.updates for node in fn.nodes[first:])  # an update does not wait for the end


def test_which_kernels_may_fail_is_read_in_their_source():
    fallible = {name for name in registry.names() if may_fail(registry.get(name)) and "." not in name}
    assert fallible == {
        "accumulate_finite", "careful", "class_labels", "gather", "scatter_sums", "shuffle", "take_batch", "target_probabilities",
        "target_rows", "wire", "wires",
    }  # fmt: skip
    assert {name for name in registry.names() if registry.get(name).errors} <= fallible
    assert may_fail(wire.op.backward_op)
