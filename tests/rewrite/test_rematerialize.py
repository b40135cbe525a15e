"""Forward values computed again: the same gradients, less memory, one more forward pass at most."""

import itertools

import numpy as np
import pytest
from helpers.compare import assert_close, scale_of
from helpers.graphs import RandomGraph
from helpers.run import differentiated, poison

import graphexec as gx
from graphexec.errors import DataError
from graphexec.interpret import interpret_gradients
from graphexec.ir.infer import infer
from graphexec.lower.buffer_assignment import assign_buffers
from graphexec.lower.layout_assignment import assign_layout
from graphexec.rewrite import optimize
from graphexec.rewrite.legalize.inline_composites import inline_composites
from graphexec.rewrite.schedule.checkpoint_segments import Forward
from graphexec.rewrite.schedule.rematerialize import Rematerialization, rematerialize

ops = gx.ops


def chain(layers, side=16, dtype="float64"):
    """tanh(w z + b), the same w and b, layer after layer."""
    g = gx.Graph("chain")
    w, b = g.parameter("w", (side, side), dtype, init="orthogonal"), g.parameter("b", (side, 1), dtype, init="normal(std=0.1)")
    z = g.input("x", (side, side), dtype)
    for k in range(layers):
        z = ops.tanh(w @ z + b, name=f"z{k}")
    g.output(z, ops.half_squared_error(z, g.input("y", (side, side), dtype), name="loss"))
    return g


def residual(layers, side=16):
    """Blocks h + f(h), and every third block reads the value four blocks before as well: branches across segments."""
    g = gx.Graph("residual")
    h = g.input("x", (side, side), "float64")
    values = [h]
    for k in range(layers):
        w = g.parameter(f"w{k}", (side, side), "float64", init="orthogonal")
        h = ops.add(h, ops.tanh(ops.sin(h) @ w) * 0.5, name=f"h{k}")
        if k % 3 == 2:
            h = ops.multiply(h, ops.sigmoid(values[-3]), name=f"gated{k}")
        values.append(h)
    g.output(h, ops.half_squared_error(h, g.input("y", (side, side), "float64"), name="loss"))
    return g


def data(g, seed=0):
    rng = np.random.default_rng(seed)
    return {leaf.name: rng.standard_normal(leaf.shape).astype(leaf.dtype) for leaf in g.function().of_role("input")}


def gradients(g, arrays, **options):
    """Gradients of a graph and the program that gave them, its memory filled with NaN before."""
    exe = gx.compile(g, loss="loss", **options)
    runner = exe.compiled.bound("gradients", arrays)
    runner.program.check()
    poison(runner.program)
    loss, found = exe.gradients(**arrays)
    return loss, found, exe


def forward_and_backward(g):
    fn = inline_composites(infer(g.function(), {}))
    made = differentiated(fn)
    return fn, made.with_nodes(made.nodes, outputs={"loss": fn.value_id("loss")})


# -- the same gradients


@pytest.mark.parametrize("asked", [1, 2, 7, "sqrt", 10**12, ["z3", "z9"], []])
def test_a_chain_has_the_same_gradients_bit_for_bit(asked):
    g = chain(16)
    arrays = data(g)
    loss, expected, _ = gradients(g, arrays)
    again, found, _ = gradients(g, arrays, recompute=asked)
    assert again == loss
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("asked", "fused"), [(3, False), (["h4", "gated8", "h9"], False), pytest.param(3, True, marks=pytest.mark.slow)]
)
def test_branches_across_segments(asked, fused):
    g = residual(12)
    arrays = data(g)
    _, expected, _ = interpret_gradients(g, "loss", inputs=arrays)
    _, found, _ = gradients(g, arrays, recompute=asked, optimize=fused)
    for name, array in expected.items():
        assert_close(found[name], array, name, scale=scale_of(array))


def test_against_central_differences():
    g = residual(6, side=4)
    arrays = data(g)
    exe = gx.compile(g, loss="loss", recompute=3)
    _, found = exe.gradients(**arrays)
    rng, step = np.random.default_rng(1), 1e-6
    for name in ("w0", "w3", "w5"):
        direction, start = rng.standard_normal((4, 4)), exe.parameters[name].copy()
        sides = []
        for sign in (1, -1):
            exe.parameters[name] = start + sign * step * direction
            sides.append(float(exe(**arrays)["loss"]))
        exe.parameters[name] = start
        np.testing.assert_allclose(np.sum(found[name] * direction), (sides[0] - sides[1]) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize(("seed", "fused"), [(1, False), *(pytest.param(s, True, marks=pytest.mark.slow) for s in (1, 4))])
def test_random_graphs(seed, fused):
    random = RandomGraph(seed, "float64")
    _, expected, deltas = interpret_gradients(random.graph, "loss", random.wrt, random.inputs, random.parameters)
    scale = scale_of(*deltas.values())
    for asked in (2, 5):
        _, found, _ = gradients(random.graph, random.inputs, wrt=random.wrt, recompute=asked, optimize=fused)
        for name in random.wrt:
            assert_close(found[name], expected[name], f"seed {seed}, {asked} segments: {name}", scale=scale)


def test_steps_train_as_without():
    arrays = data(chain(9))
    runs = [gx.compile(chain(9), loss="loss", optimizer="momentum(lr=0.01)", recompute=asked) for asked in (None, 3)]
    for _ in range(3):
        losses = [exe.step(**arrays) for exe in runs]
    assert losses[0] == losses[1]
    for name, array in runs[0].state().items():
        np.testing.assert_array_equal(runs[1].state()[name], array)


def test_deltas_that_are_kept_stay():
    g = chain(8)
    arrays = data(g)
    (_, _, plain), (_, _, again) = gradients(g, arrays, keep_deltas=True), gradients(g, arrays, keep_deltas=True, recompute=4)
    assert {"z0", "z3", "z7"} <= set(again.deltas)
    for name in plain.deltas:
        np.testing.assert_array_equal(again.deltas[name], plain.deltas[name])


def test_any_number_of_threads_gives_the_same_bits():
    g = chain(6, side=128)
    arrays = data(g)
    results = []
    for threads in (1, 3):
        _, found, exe = gradients(g, arrays, recompute=3, threads=threads)
        results.append(found)
        assert exe.program.parallel == (threads > 1)
    for name, array in results[0].items():
        np.testing.assert_array_equal(results[1][name], array)


def test_integers_and_booleans_are_computed_again(rng):
    g = gx.Graph("mask")
    h = g.input("x", (4, 6), "float64") @ g.parameter("w", (6, 6), "float64", init="orthogonal")
    for k in range(6):
        h = ops.where(ops.greater(h, 0.1), ops.sin(h), h * 0.5, name=f"h{k}")
    g.output(ops.sum(h, name="loss"))
    arrays = {"x": rng.standard_normal((4, 6))}
    _, expected, _ = interpret_gradients(g, "loss", inputs=arrays)
    _, found, exe = gradients(g, arrays, recompute=["h2", "h4"], optimize=False)
    assert_close(found["w"], expected["w"], scale=4.0)
    assert any(i.node.op.name == "greater" and i.node.name.endswith(".again") for i in exe.program.instructions)


# -- what is computed again


def test_what_is_left_out_and_what_waits():
    """One segment again: its nodes behind the backward pass of the next one, reading what was kept."""
    g = chain(4)
    fn, made = forward_and_backward(g)
    again = rematerialize(made, fn.nodes, ("z1",), [])
    text = [node.name for node in again.nodes]
    copies = [name for name in text if name.endswith(".again")]
    assert copies == ["matmul.again", "add.again", "z0.again"]  # not z1, which is kept, nor what makes z2 and z3
    first, last = text.index("matmul.again"), text.index("z0.again")
    behind = next(k for k, node in enumerate(again.nodes) if node.name.startswith("z2.backward"))
    assert behind < first < last < text.index("z0.backward")
    after = next(node for node in again.nodes if node.op.name == "control_dependency")
    assert again.names[after.inputs[0]] in ("w", "x")  # leaves alone could be read at any time
    assert not any(v in after.outputs for node in made.nodes for v in node.inputs)


def test_updates_and_what_they_overwrite_are_left_alone():
    """A graph may update a value itself: computed again, what reads it would see another value."""
    g = gx.Graph("counting")
    w = g.parameter("w", (4, 4), "float64", init="orthogonal")
    seen = g.parameter("seen", (4, 4), "float64", value=np.ones((4, 4)), trainable=False)
    h = ops.tanh(g.input("x", (4, 4), "float64") @ w)
    scaled = ops.multiply(ops.sin(h * seen), 2.0, name="scaled")
    moved = ops.sgd(seen, ops.stop_gradient(h), lr=0.5, name="moved")
    for _ in range(4):
        scaled = ops.sin(scaled @ w)
    g.output(ops.sum(scaled, name="loss"), moved)
    fn, made = forward_and_backward(g)
    again = rematerialize(made, fn.nodes, 4, [])
    names = {node.name for node in again.nodes}
    assert "moved.again" not in names
    assert "multiply.again" not in names  # h * seen
    assert any(name.endswith(".again") for name in names)


def test_cuts_are_where_little_crosses():
    """Between blocks one value crosses; inside a block of four parallel branches, four do."""
    g = gx.Graph("blocks")
    h, w = g.input("x", (8, 8)), g.parameter("w", (8, 8), init="zeros")
    for k in range(9):
        h = ops.add_n(*(ops.tanh(ops.sin(h * w) * float(c)) for c in range(1, 5)), name=f"h{k}")
    g.output(ops.sum(h, name="loss"))
    fn, made = forward_and_backward(g)
    forward = Forward(made, len(fn.nodes))
    assert [forward.nodes[cut - 1].name for cut in forward.cuts(3)] == ["h2", "h5"]


# -- memory and time


def test_memory_falls_to_the_square_root():
    layers, side = 144, 16
    g = chain(layers, side)
    compiled = [gx.compile(g, loss="loss", optimizer="sgd(lr=0.1)", recompute=n).compiled for n in (None, 12)]
    orders = [c.functions.sized("step", {}) for c in compiled]
    plain, again = map(assign_layout, orders)
    value = side * side * 8
    assert assign_buffers(plain, orders[0].outputs.values()).arena >= layers * value
    assert assign_buffers(again, orders[1].outputs.values()).arena <= (2 * 12 + 8) * value
    assert len(again.steps) <= len(plain.steps) + 3 * layers  # product, sum, tanh: one more forward pass


def test_a_residual_net_needs_less():
    fn, made = forward_and_backward(residual(40))
    plain, again = (
        assign_buffers(assign_layout(optimize(o)), [*o.outputs.values(), *o.gradients.values()]).arena
        for o in (made, rematerialize(made, fn.nodes, 6, []))
    )
    gradients = 40 * 16 * 16 * 8
    assert again - gradients < 0.5 * (plain - gradients)


def test_work_grows_with_the_number_of_nodes(monkeypatch):
    counts = []
    for layers in (50, 100, 200):
        g = chain(layers, side=4)
        fn, made = forward_and_backward(g)
        calls = [0]

        def counting(self, value, calls=calls, real=Rematerialization.is_over):
            calls[0] += 1
            return real(self, value)

        with monkeypatch.context() as patch:
            patch.setattr(Rematerialization, "is_over", counting)
            again = rematerialize(made, fn.nodes, "sqrt", [])
        counts.append((calls[0], len(again.nodes)))
        assert len(again.nodes) <= len(made.nodes) + 2 * len(fn.nodes)
    for few, many in itertools.pairwise(counts):
        assert all(b <= 2.1 * a for a, b in zip(few, many, strict=True))


# -- what is refused


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (0, "not a number of segments"), (True, "not a number of segments"), (2.5, "not a number of segments"),
        ("z3", "not a number of segments"),
        (["z33"], "did you mean 'z3'"), (["z3", "nothing like it"], "no value 'nothing like it'"),
    ],
)  # fmt: skip
def test_what_is_refused(asked, message):
    with pytest.raises(DataError, match=message):
        gx.compile(chain(5), loss="loss", recompute=asked)


def test_without_a_loss_there_is_nothing_to_compute_again():
    with pytest.raises(DataError, match="needs a loss"):
        gx.compile(chain(5), recompute=2)


def test_values_themselves_can_be_given():
    g = chain(6)
    exe = gx.compile(g, loss="loss", recompute=[g["z2"], "z4"])
    assert exe.gradients(**data(g))[0] == gx.compile(g, loss="loss").gradients(**data(g))[0]
