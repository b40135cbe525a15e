"""horizontal_fusion: small parameters are updated together, with the same bits as one by one, and others stay apart."""

import sys

import numpy as np
import pytest
from helpers.run import registered

import graphexec as gx
from graphexec.interpret import interpret
from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.registry import registry
from graphexec.plugin import elementwise
from graphexec.rewrite.fusion.horizontal import MAX_PARAMETER_ELEMENTS as SMALL
from graphexec.rewrite.fusion.horizontal import MAX_PARAMETERS as MOST
from graphexec.rewrite.fusion.horizontal import MAX_TOTAL_ELEMENTS as TOTAL
from graphexec.rewrite.fusion.horizontal import horizontal_fusion

ops = gx.ops
module = sys.modules["graphexec.rewrite.fusion.horizontal"]

RULES = {
    "sgd": gx.SGD(lr=0.1, weight_decay=0.01), "momentum": gx.SGD(lr=0.1, momentum=0.9, nesterov=True), "adam": gx.Adam(lr=0.01),
    "adamw": gx.AdamW(lr=0.01),
}  # fmt: skip
SHAPES = [(), (1,), (7,), (8,), (3, 5), (16,), (33,), (4, 20), (129,), (0,), (SMALL,)]


@pytest.fixture
def patient(monkeypatch):
    """Updates may wait for one another however far they are apart."""
    monkeypatch.setattr(module, "MAX_DISTANCE", 10_000)


def bowl(shapes, dtype="float32"):
    """A loss in which each parameter's gradient is a sum over a batch, which no update is fused with."""
    g, loss = gx.Graph("bowl"), None
    for k, shape in enumerate(shapes):
        p = g.parameter(f"p{k}", shape, init="normal(std=0.5)", dtype=dtype)
        term = ops.sum(ops.square(p - g.input(f"x{k}", ("batch", *shape), dtype)))
        loss = term if loss is None else loss + term
    g.output(ops.multiply(loss, 0.1, name="loss"))
    return g


def data(shapes, dtype="float32", batch=3):
    rng = np.random.default_rng(0)
    return {f"x{k}": rng.normal(size=(batch, *s)).astype(dtype) for k, s in enumerate(shapes)}


def trained(graph, inputs, optimizer, steps=4, **options):
    exe = gx.compile(graph, loss="loss", optimizer=optimizer, seed=1, **options)
    losses = [exe.step(**inputs) for _ in range(steps)]
    exe.program.check()
    return exe, losses


def rules(exe):
    """Names of the kernels that update a parameter, in their order."""
    return [i.node.op.name for i in exe.program.instructions if len(i.node.op.updates) and i.node.op.name != "increment"]


def same(found, expected):
    (exe, losses), (other, other_losses) = found, expected
    assert losses == other_losses
    for name, array in other.parameters.items():
        np.testing.assert_array_equal(exe.parameters[name], array, err_msg=name, strict=True)
    for name, array in other.state().items():
        np.testing.assert_array_equal(exe.state()[name], array, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.usefixtures("patient")
def test_together_gives_the_bits_of_one_by_one(rule, dtype):
    inputs = data(SHAPES, dtype)
    together = trained(bowl(SHAPES, dtype), inputs, RULES[rule])
    assert rules(together[0]) == [f"{rule} x {len(SHAPES)}"]
    apart = trained(bowl(SHAPES, dtype), inputs, RULES[rule], skip_passes="horizontal_fusion")
    assert rules(apart[0]) == [rule] * len(SHAPES)
    same(together, apart)
    for threads in (2, 3):
        same(trained(bowl(SHAPES, dtype), inputs, RULES[rule], threads=threads), apart)


@pytest.mark.usefixtures("patient")
def test_the_op_means_what_its_kernel_does():
    """Its slow path, on the program's own operands."""
    exe, _ = trained(bowl(SHAPES), data(SHAPES), RULES["adam"])
    (node,) = (i.node for i in exe.program.instructions if i.node.op.name.startswith("adam"))
    specs = [exe.program.layout.specs[v] for v in node.inputs]
    assert [s.shape for s in node.op.infer(specs, node.attributes)] == [
        exe.program.layout.specs[v].shape for v in node.outputs
    ]  # fmt: skip
    rng = np.random.default_rng(2)
    arrays = [np.asarray(rng.uniform(0.1, 1, s.shape).astype(s.dtype) if s.dtype != "int64" else 5) for s in specs]
    found = node.op.evaluate(arrays, node.attributes)
    own = [a for a in arrays if a.dtype != "int64"]
    for m in range(len(SHAPES)):
        expected = gx.ops.adam(*own[4 * m : 4 * m + 4], arrays[-1], **node.attributes)
        for k in range(3):
            np.testing.assert_allclose(found[3 * m + k], expected[k], rtol=1e-6)


@pytest.mark.usefixtures("patient")
def test_groups_have_at_most_so_many_members_and_elements():
    shapes = [(2,)] * (MOST + 3)
    exe, _ = trained(bowl(shapes), data(shapes), RULES["sgd"], steps=1)
    assert rules(exe) == [f"sgd x {MOST}", "sgd x 3"]
    shapes = [(SMALL,)] * (TOTAL // SMALL + 1)
    exe, _ = trained(bowl(shapes), data(shapes), RULES["sgd"], steps=1)
    assert rules(exe) == [f"sgd x {TOTAL // SMALL}", "sgd"]


def test_gradients_do_not_wait_for_long():
    """The updates of one small layer are near; those of different layers are not, and memory is what it was."""
    g = gx.Graph("deep")
    h = g.input("x", (64, 32))
    for k in range(6):
        w, b = g.parameter(f"w{k}", (32, 32), init="normal(std=0.1)"), g.parameter(f"b{k}", (32,), init="zeros")
        h = ops.tanh(h @ w + b)
    g.output(ops.sum(ops.square(h), name="loss"))
    inputs = {"x": np.random.default_rng(0).normal(size=(64, 32)).astype("float32")}
    exe, _ = trained(g, inputs, RULES["adam"], steps=1)
    assert not any(" x " in name for name in rules(exe))
    shapes = [(8, 2), (8,), (1, 8), (1,)]
    small = gx.Graph("small")
    w1, b1, w2, b2 = (small.parameter(f"p{k}", s, init="normal") for k, s in enumerate(shapes))
    h = ops.sigmoid(ops.linear(small.input("x", (4, 2)), w1, b1))
    small.output(ops.sum(ops.square(ops.linear(h, w2, b2)), name="loss"))
    exe, _ = trained(small, {"x": np.ones((4, 2), "float32")}, RULES["adam"], steps=1)
    assert "adam x 3" in rules(exe)


@pytest.mark.usefixtures("patient")
def test_large_parameters_and_other_types_stay_apart():
    shapes = [(SMALL + 1,), (4,), (5,), (6,)]
    exe, _ = trained(bowl(shapes), data(shapes), RULES["sgd"], steps=1)
    assert sorted(rules(exe)) == ["sgd", "sgd x 3"]
    g = gx.Graph("types")
    a, b = g.parameter("a", (4,), init="normal"), g.parameter("b", (4,), init="normal", dtype="float64")
    x = g.input("x", (3, 4))
    wide = ops.sum(ops.square(b - ops.cast(x, dtype="float64")))
    g.output(ops.add(ops.cast(ops.sum(ops.square(a - x)), dtype="float64"), wide, name="loss"))
    exe, _ = trained(g, {"x": np.ones((3, 4), "float32")}, RULES["sgd"], steps=1)
    assert not any(" x " in name for name in rules(exe))


@pytest.mark.usefixtures("patient")
def test_gradients_that_lie_in_another_value_are_left():
    """A transposed view of what was computed, and a part of one gradient."""
    g = gx.Graph("views")
    a, b, c = (g.parameter(n, s, init="normal") for n, s in (("a", (3, 4)), ("b", (5,)), ("c", (5,))))
    x = g.input("x", (2, 4, 3))
    joined = ops.sum(ops.square(ops.concat(b, c, axis=0) * ops.mean(x)))
    g.output(ops.add(ops.sum(ops.square(ops.transpose(a) * x)), joined, name="loss"))
    inputs = {"x": np.random.default_rng(1).normal(size=(2, 4, 3)).astype("float32")}
    for name, rule in RULES.items():
        found = trained(g, inputs, rule)
        assert rules(found[0]) == [name] * 3
        same(found, trained(g, inputs, rule, skip_passes="horizontal_fusion"))


@pytest.mark.usefixtures("patient")
def test_a_rule_of_ones_own():
    """Without a step, with state and attributes."""

    @elementwise(
        reference=lambda p, d, h, *, lr: (p - lr * d / np.sqrt(h + d * d), h + d * d), outputs=("p", "h"), updates=("p", "h"),
        differentiable=False, domain={"p": (-1.0, 1.0), "d": (-1.0, 1.0), "h": (0.1, 1.0)},
    )  # fmt: skip
    def test_adagrad(p, d, h, *, lr=0.1):
        h = h + d * d
        return p - lr * d / (h**0.5), h

    shapes = [(3,), (9,), (2, 2)]
    with registered(test_adagrad):
        rule = gx.Optimizer("test_adagrad", lr=0.05)
        together = trained(bowl(shapes), data(shapes), rule)
        assert rules(together[0]) == ["test_adagrad x 3"]
        same(together, trained(bowl(shapes), data(shapes), rule, skip_passes="horizontal_fusion"))


@pytest.mark.usefixtures("patient")
def test_an_update_that_is_read_is_not_put_off():
    exe, _ = trained(bowl([(4,), (5,), (6,), (7,)]), data([(4,), (5,), (6,), (7,)]), RULES["sgd"], skip_passes="horizontal_fusion")
    fn = exe.compiled.functions.of("step")
    builder, read = FunctionBuilder(fn), fn.nodes[[n.op.name for n in fn.nodes].index("sgd")]
    builder.add(registry.get("negate"), read.outputs, {}, "reader")
    builder.nodes = [*fn.nodes, *builder.nodes]
    found = horizontal_fusion(builder.build(fn))
    assert read in found.nodes
    assert "sgd x 3" in [n.op.name for n in found.nodes]
    assert "sgd x 4" in [n.op.name for n in horizontal_fusion(fn).nodes]


@pytest.mark.usefixtures("patient")
def test_gradients_agree_with_the_interpreter():
    """One step of plain SGD moves each parameter by its gradient."""
    shapes = [(4,), (3, 2), (5,)]
    graph, inputs = bowl(shapes, "float64"), data(shapes, "float64")
    exe = gx.compile(graph, loss="loss", optimizer=gx.SGD(lr=0.01), seed=1)
    before = {n: a.copy() for n, a in exe.parameters.items()}
    loss = exe.step(**inputs)
    assert rules(exe) == ["sgd x 3"]
    assert loss == pytest.approx(float(interpret(graph, {**before, **inputs})["loss"]), rel=1e-12)
    for k in range(3):
        gradient = 0.2 * np.sum(before[f"p{k}"] - inputs[f"x{k}"], axis=0)
        np.testing.assert_allclose(exe.parameters[f"p{k}"], before[f"p{k}"] - 0.01 * gradient, rtol=1e-12)
