"""fuse_rows: reductions along rows fused with what is around them, against the slow path and central differences."""

import itertools

import numpy as np
import pytest
from helpers.run import op_names

import graphexec as gx
from graphexec.abi import MAX_SHORT_ROW
from graphexec.interpret import interpret
from graphexec.ir.fused.row_schedule import schedule_rows
from graphexec.ir.fused.rowwise import RowwiseOp
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.registry import registry
from graphexec.lower import barriers, kernel_args
from graphexec.plugin import elementwise, kernel
from graphexec.rewrite import optimize, required
from graphexec.rewrite.fusion.decompose import decompose
from graphexec.rewrite.fusion.rowwise import fuse_rows

ops = gx.ops
INF, NAN = np.inf, np.nan
SHAPES = [(5, 7), (3, 130), (70, 32), (0, 5), (5, 0), (4, 1)]
MORE_SHAPES = [(2, 3, 70), (1, 10), (65, 33), (3, 64), (9, 40), (2, 2, 2, 96), (130, 3)]


def fused(fn):
    return fuse_rows(decompose(required(fn)))


def rows_of(fn):
    return [node for node in fn.nodes if isinstance(node.op, RowwiseOp)]


def layer_norm(x, gain, bias):
    c = x - x.mean(axis=-1, keepdims=True)
    return c / ops.sqrt(ops.square(c).mean(axis=-1, keepdims=True) + 1e-5) * gain + bias


PATTERNS = {
    "layer_norm": layer_norm,
    "softmax": lambda x, gain, bias: ops.softmax(x * gain) + bias,
    "masked": lambda x, gain, bias: ops.softmax(ops.where(x[..., :1] > 0.0, x * 0.5, x)) * gain + bias,
    "log_softmax": lambda x, gain, bias: ops.log_softmax(x + bias) * gain,
    "logsumexp": lambda x, gain, bias: ops.expand_dims(ops.logsumexp(x * gain, axis=-1), axis=-1) * bias,
    "variance": lambda x, gain, bias: x * gain + ops.variance(x, axis=-1, keepdims=True) * bias,
    "norm": lambda x, gain, bias: x / ops.sqrt(ops.sum(x * x, axis=-1, keepdims=True) + 1.0) * gain + bias,
    "extremes": lambda x, gain, bias: (x - ops.min(x, axis=-1, keepdims=True)) * gain + ops.max(x * bias, axis=-1, keepdims=True),
    "product": lambda x, gain, bias: ops.tanh(ops.prod(x * 0.9, axis=-1, keepdims=True)) * gain + x * bias,
}


DRAWN = [n if n == "layer_norm" else pytest.param(n, marks=pytest.mark.slow) for n in PATTERNS]
"""Each pattern compiles kernels of its own, so only one runs by default."""


def pattern(name, shape, dtype="float64"):
    """A graph of a pattern with a weighted sum as its loss, and its arrays."""
    rng = np.random.default_rng(3)
    g = gx.Graph(name)
    arrays = {"x": rng.standard_normal(shape), "w": rng.standard_normal(shape), "gain": rng.standard_normal(shape[-1])}
    arrays["bias"] = rng.standard_normal(shape[-1])
    arrays = {k: a.astype(dtype) for k, a in arrays.items()}
    given = {k: g.input(k, a.shape, dtype) for k, a in arrays.items()}
    y = PATTERNS[name](given["x"], given["gain"], given["bias"])
    g.output(ops.add(y, 0.0, name="y"), ops.sum(y * given["w"], name="loss"))
    return g, arrays


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_are_one_kernel_over_rows(name, prepared):
    g, _ = pattern(name, (6, 40))
    fn = fused(prepared(g))
    (node,) = rows_of(fn)
    assert not any(n.op.name in ("max", "min", "prod", "exp") or (n.op.name == "sum" and n.name != "loss") for n in fn.nodes)
    assert len(node.op.calls) >= 3


@pytest.mark.parametrize("shapes", [SHAPES, pytest.param(MORE_SHAPES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", DRAWN)
def test_patterns_give_what_the_interpreter_gives(name, shapes, prepared, agrees):
    for shape in shapes:
        if name == "extremes" and 0 in shape:
            continue  # as in NumPy, there is no min of no elements
        g, arrays = pattern(name, shape)
        fn = optimize(prepared(g), list(prepared(g).outputs.values()))
        agrees(g, fn, arrays, rtol=1e-11)


@pytest.mark.parametrize("name", DRAWN)
def test_gradients_of_patterns(name):
    """Fused against unfused, and along a direction against a central difference."""
    for shape in [(3, 130), (9, 32)]:
        g, arrays = pattern(name, shape)
        wrt = ["x", "gain", "bias"]
        _, plain = gx.compile(g, loss="loss", wrt=wrt, threads=1, optimize=False).gradients(**arrays)
        exe = gx.compile(g, loss="loss", wrt=wrt, threads=1)
        _, found = exe.gradients(**arrays)
        assert rows_of(exe.program.fn) or shape[-1] <= MAX_SHORT_ROW
        rng = np.random.default_rng(1)
        direction = {k: rng.standard_normal(arrays[k].shape) for k in wrt}
        ends = [interpret(g, arrays | {k: arrays[k] + s * 1e-6 * direction[k] for k in wrt})["loss"] for s in (1, -1)]
        slope = sum(np.vdot(found[k], direction[k]) for k in wrt)
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-6, err_msg=str(shape))
        for k in wrt:
            np.testing.assert_allclose(found[k], plain[k], rtol=1e-9, atol=1e-11, err_msg=f"{k} {shape}")


@pytest.mark.parametrize(("name", "n", "dtype"), [("softmax", 10, "float32"), ("layer_norm", 70, "float64")])
def test_any_number_of_threads_gives_the_same_bits(name, n, dtype, prepared, execute, monkeypatch):
    monkeypatch.setattr(kernel_args, "MIN_SHARED_NANOSECONDS", 0)
    monkeypatch.setattr(barriers, "BARRIER_NANOSECONDS", 0)
    g, arrays = pattern(name, (300, n), dtype)
    fn = optimize(prepared(g))
    first = execute(fn, arrays)
    for threads in (2, 3, 8):
        again = execute(fn, arrays, threads=threads)
        assert all(again[k].tobytes() == a.tobytes() for k, a in first.items())


@pytest.mark.parametrize("n", [3, 40])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_rows_that_are_not_finite(name, n, prepared, execute):
    """A row's NaN or infinity stays in the row; the op's reference says what becomes of it."""
    op = getattr(ops, name)
    x = np.random.default_rng(0).standard_normal((12, n))
    for row, (at, value) in enumerate(itertools.product((0, n - 1), (NAN, INF, -INF))):
        x[row, at] = value
    x[8], x[9], x[10, :2] = -INF, 1000.0, (INF, NAN)
    g = gx.Graph("special")
    g.output(op(g.input("x", x.shape, "float64"), name="y", **({"axis": -1} if name == "logsumexp" else {})))
    fn = fused(prepared(g))
    assert rows_of(fn)
    np.testing.assert_allclose(execute(fn, {"x": x})["y"], interpret(g, {"x": x})["y"], rtol=1e-13)


@pytest.mark.parametrize(("n", "dtype"), [(10, "float32"), (50, "float64")])
def test_cross_entropy_is_one_kernel_forward_and_backward(n, dtype):
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((33, n)).astype(dtype), rng.integers(0, n, 33)
    g = gx.Graph("classes")
    b = g.parameter("b", value=np.zeros(n, dtype))
    g.output(ops.softmax_cross_entropy(g.input("x", ("batch", n), dtype) + b, g.input("labels", ("batch",), "int64"), name="loss"))
    exe = gx.compile(g, loss="loss", optimizer=gx.SGD(lr=1.0), threads=1)
    loss = exe.step(x=x, labels=labels)
    assert sum(isinstance(i.node.op, RowwiseOp) for i in exe.program.instructions) == 1
    e = np.exp(x.astype("float64"))
    p = e / e.sum(-1, keepdims=True)
    hit = np.arange(n) == labels[:, None]
    np.testing.assert_allclose(loss, -np.log(p[hit]).mean(), rtol=1e-5)
    np.testing.assert_allclose(exe.parameters["b"], -(p - hit).mean(0), rtol=1e-4, atol=1e-6)
    for bad in (-1, n):
        with pytest.raises(gx.KernelError, match="a label is not between 0 and the number of classes") as caught:
            exe.step(x=x, labels=np.where(np.arange(33) == 20, bad, labels))
        assert caught.value.node.startswith("loss")


CLASSES = """\
   0  matmul             scores.matmul(8, 3)@192 <- x(8, 3), scores.transpose(3, 3)
   1  class_labels       loss.softmax_cross_entropy_rows.class_labels(8,)@0 <- label(8,), loss.softmax_cross_entropy_rows.positions(3,)
   2  rows               loss.softmax_cross_entropy_rows(8,)@64, d_scores(8, 3)@192 <- scores.matmul(8, 3)@192, b(3,), loss.softmax_cross_entropy_rows.expand_dims(8, 1)@0, loss.softmax_cross_entropy_rows.positions(3,), constant(), loss.softmax_cross_entropy_rows.squeeze.backward.expand_dims(8, 1), loss.softmax_cross_entropy_rows.sum.1.backward.expand_like(8, 3)
   3  sum                loss.sum()@0 <- loss.softmax_cross_entropy_rows(8,)@64
   4  divide             loss()@0 <- loss.sum()@0, loss.size()
   5  sum_to             scores.backward.sum(3,)@64 <- d_scores(8, 3)@192
   6  sgd                b.update(3,) <- b(3,), scores.backward.sum(3,)@64
   7  matmul             scores.transpose.backward.transpose(3, 3)@64 <- scores.transpose.backward.transpose.factor(3, 8)@192, x(8, 3)
   8  sgd                w.update(3, 3) <- w(3, 3), scores.transpose.backward.transpose(3, 3)@64
9 instructions, 7 kernels, arena 384 bytes (832 without reuse)"""  # noqa: E501 - as it is printed


def test_listing():
    """Bias, losses and their gradient by the scores are one instruction, which writes over the scores."""
    g = gx.Graph("classes")
    x, label = g.input("x", (8, 3), "float64"), g.input("label", (8,), "int64")
    w, b = g.parameter("w", value=np.eye(3)), g.parameter("b", value=np.zeros(3))
    g.output(ops.softmax_cross_entropy(ops.linear(x, w, b, name="scores"), label, name="loss"))
    assert gx.compile(g, loss="loss", optimizer=gx.SGD(lr=0.1), threads=1).program.listing() == CLASSES


def test_labels_that_are_not_classes_change_nothing():
    g = gx.Graph("classes")
    b = g.parameter("b", value=np.zeros(3))
    g.output(ops.softmax_cross_entropy(g.input("x", (2, 3), "float64") + b, g.input("labels", (2,), "int64"), name="loss"))
    exe = gx.compile(g, loss="loss", optimizer=gx.SGD(lr=1.0), threads=1)
    with pytest.raises(gx.KernelError):
        exe.step(x=np.ones((2, 3)), labels=[0, 3])
    np.testing.assert_array_equal(exe.parameters["b"], np.zeros(3))


# -- what belongs to a group


def test_a_path_that_leaves_the_rows_and_returns_is_not_in_the_kernel(prepared, agrees, rng):
    g = gx.Graph("convex")
    x = g.input("x", (40, 40), "float64")
    s = ops.softmax(x * 2.0)
    g.output(ops.add(ops.softmax(s @ s), s, name="y"))
    fn = fused(prepared(g))
    assert op_names(fn) == ["rows", "matmul", "rows"]
    agrees(g, fn, {"x": rng.standard_normal((40, 40))}, rtol=1e-12)


def test_a_flat_sum_that_is_added_along_the_other_axis_stays_apart(prepared, agrees, rng):
    """x + sum(x, -1) broadcasts along the last axis: with square rows the shapes fit, and the meaning is another."""
    g = gx.Graph("trap")
    x = g.input("x", (40, 40), "float64")
    g.output(ops.multiply(ops.exp(x) + ops.sum(ops.exp(x), axis=-1), x, name="y"))
    fn = optimize(prepared(g))
    agrees(g, fn, {"x": rng.standard_normal((40, 40))}, rtol=1e-12)


def test_values_that_are_kept_are_stored(prepared, execute, rng):
    g = gx.Graph("kept")
    x = g.input("x", (6, 50), "float64")
    e = ops.exp(x - ops.max(x, axis=-1, keepdims=True), name="e")
    total = ops.sum(e, axis=-1, name="total")
    spread = ops.expand_like(total, x, axis=-1, name="spread")
    g.output(e, total, spread, ops.divide(e, spread, name="y"))
    fn = fused(prepared(g))
    assert op_names(fn) == ["rows", "expand_like"]
    arrays = {"x": rng.standard_normal((6, 50))}
    found, expected = execute(fn, arrays), interpret(g, arrays)
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-13)


def test_deltas_are_stored_where_they_are_kept():
    g, arrays = pattern("softmax", (3, 40))
    stored = []
    for keep in (False, True):
        exe = gx.compile(g, loss="loss", wrt=["x"], threads=1, keep_deltas=keep)
        exe.gradients(**arrays)
        stored.append(sum(len(i.node.outputs) for i in exe.program.instructions))
    assert stored[0] < stored[1]


def test_the_same_rows_are_one_kernel(prepared):
    g = gx.Graph("same")
    x, w = g.input("x", (8, 48)), g.input("w", (48, 48))
    for _ in range(4):
        x = ops.softmax(x * 0.5) @ w
    g.output(x)
    found = [node.op for node in rows_of(fused(prepared(g)))]
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_short_rows_of_little_arithmetic_stay_apart(prepared):
    for n, count in ((16, 0), (33, 1)):
        g = gx.Graph("short")
        x = g.input("x", (32, n))
        g.output(ops.sum(x * x, axis=-1))
        assert len(rows_of(fused(prepared(g)))) == count


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_that_do_not_lie_along_memory(axis, prepared, agrees, rng):
    """Operands with strides of their own, and rows across memory, of any length."""
    for shape in [(90, 40), (3, 100), (100, 3)]:
        g = gx.Graph("strided")
        x = g.input("x", (shape[0] * 2, shape[1]), "float64")
        g.output(ops.softmax(x[::2] * 2.0, axis=axis, name="y"), ops.softmax(ops.transpose(x), axis=axis, name="z"))
        fn = fused(prepared(g))
        assert len(rows_of(fn)) == 2
        agrees(g, fn, {"x": rng.standard_normal((shape[0] * 2, shape[1]))}, rtol=1e-12)


def test_named_sizes_share_a_kernel():
    g = gx.Graph("named")
    x = g.input("x", ("batch", "n"))
    g.output(ops.softmax(x * 0.5, name="y"))
    exe = gx.compile(g, threads=1)
    kernels = set()
    for shape in [(3, 5), (70, 40), (2, 200), (4, 1), (1, 1)]:
        x = np.random.default_rng(0).standard_normal(shape).astype("float32")
        e = np.exp(x * 0.5)
        np.testing.assert_allclose(exe(x=x)["y"], e / e.sum(-1, keepdims=True), rtol=1e-5)
        kernels.add(exe.program.instructions[0].kernel)
    assert len(kernels) == 1


# -- what array kernels are made of


def test_unfolded_values_keep_their_numbers_and_names(prepared):
    g = gx.Graph("unfolded")
    x = g.input("x", (3, 40))
    g.output(ops.softmax(x, name="s"), ops.tanh(ops.log_softmax(x, name="t")))
    fn = prepared(g)
    unfolded = decompose(fn)
    assert "softmax" not in op_names(unfolded)
    assert "log_softmax" not in op_names(unfolded)
    assert unfolded.outputs == fn.outputs
    made = {v for node in unfolded.nodes for v in node.outputs}
    assert made >= {v for node in fn.nodes for v in node.outputs}
    assert [unfolded.names[v] for v in fn.outputs.values()] == [fn.names[v] for v in fn.outputs.values()]


def test_decomposition_is_for_array_kernels_and_asks_for_what_they_have():
    @elementwise(reference=lambda x: x + 1.0, domain=(-1.0, 1.0))
    def one_more(x):
        return x + 1.0

    @kernel("(n)->(n)", reference=lambda x: x, domain=(-1.0, 1.0))
    def same(x, out):
        for i in range(x.size):
            out[i] = x[i]

    with pytest.raises(gx.PluginError, match="decomposition needs an array kernel"):
        one_more.decomposition(lambda x: x)
    with pytest.raises(gx.PluginError, match="decomposition asks for 'y'"):
        same.decomposition(lambda y: y)


# -- the plan


def call(name, *arguments):
    return BodyCall(registry.get(name), {}, arguments)


def test_softmax_takes_three_sweeps_and_keeps_its_exponentials():
    """max; exp and sum; quotient. What is cheap is computed again."""
    load, one, two, three, four = ScalarRef("operand", 0), *(ScalarRef("call", k) for k in range(4))
    calls = [
        call("negate", load), call("max", one), call("subtract", one, two), call("exp", three), call("sum", four),
        call("divide", four, ScalarRef("call", 4)),
    ]  # fmt: skip
    plan = schedule_rows(calls, [False], [(ScalarRef("call", 5), False)])
    assert [(p.steps, p.closes, p.loads, p.stores) for p in plan.sweeps] == [
        ((0,), (1,), (), ()), ((0, 2, 3), (4,), (), ()), ((5,), (), ((3, 0),), (0,)),
    ]  # fmt: skip
    assert plan.kept == ((3, 0),)
    stored = schedule_rows(calls, [False], [(ScalarRef("call", 5), False), (ScalarRef("call", 3), False)])
    assert stored.kept == ()  # the result is read again instead
    assert [p.stores for p in stored.sweeps] == [(), (1,), (0,)]


def test_what_does_not_move_along_the_row_is_done_once():
    once, sum_, last = call("exp", ScalarRef("operand", 0)), call("sum", ScalarRef("operand", 1)), call("exp", ScalarRef("call", 1))
    sum_ = sum_._replace(arguments=(*sum_.arguments, ScalarRef("call", 0)))
    plan = schedule_rows([once, sum_, last], [True, False], [(ScalarRef("call", 2), True)])
    assert plan.fixed == (True, True, True)
    assert [(p.once, p.steps, p.closes) for p in plan.sweeps] == [((0,), (), (1,))]
    assert plan.once == (2,)


# -- random graphs


def random_rows(seed, shape):
    """A graph of random elementwise nodes over ``shape``, reductions of its rows, and arithmetic on what they give."""
    rng = np.random.default_rng(seed)
    g = gx.Graph(f"rows {seed}")
    full = [g.input("x", shape, "float64"), g.input("y", shape, "float64")]
    column = [g.input("c", (*shape[:-1], 1), "float64"), g.input("row", shape[-1:], "float64")]
    pick = lambda values: values[rng.integers(len(values))]  # noqa: E731
    for _ in range(16):
        kind = rng.integers(5)
        if kind == 0:
            reduce = pick([ops.sum, ops.max, ops.min])
            if rng.integers(2):
                column.append(reduce(pick(full), axis=-1, keepdims=True) * 0.1)
            else:
                column.append(ops.expand_dims(ops.tanh(reduce(pick(full), axis=-1)), axis=-1))
        elif kind == 1:
            column.append(ops.sin(column[-1]) if rng.integers(2) else column[-1] * pick(column[:1] + column[2:]))
        elif kind == 2:
            full.append(pick([ops.tanh, ops.sin, ops.sigmoid])(pick(full)))
        else:
            full.append(pick([ops.add, ops.multiply, ops.subtract])(pick(full), pick([pick(full), pick(column)])))
    g.output(ops.tanh(full[-1], name="last"), ops.sum(ops.tanh(full[-1] + full[len(full) // 2] + column[-1]), name="loss"))
    arrays = {leaf.name: rng.standard_normal(leaf.shape) for leaf in g.function().of_role("input")}
    return g, arrays


@pytest.mark.parametrize(
    ("seed", "shape"),
    [(0, (5, 37)), *(pytest.param(s, n, marks=pytest.mark.slow) for s in range(8) for n in [(5, 37), (2, 9, 12), (3, 96)])],
)
def test_random_rows_give_the_same_fused_and_unfused(seed, shape):
    g, arrays = random_rows(seed, shape)
    wrt = list(arrays)
    found = [gx.compile(g, loss="loss", wrt=wrt, threads=1, optimize=o).gradients(**arrays) for o in (False, True)]
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-10)
    for k in wrt:
        np.testing.assert_allclose(found[1][1][k], found[0][1][k], rtol=1e-8, atol=1e-10, err_msg=k)
    values = [gx.compile(g, threads=1, optimize=o)(**arrays)["last"] for o in (False, True)]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-10)
