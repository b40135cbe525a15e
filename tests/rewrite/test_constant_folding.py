"""constant_folding: constants of constants, and nodes that change nothing, on tiny graphs."""

import numpy as np
import pytest
from helpers.compare import assert_close
from helpers.run import differentiated

import graphexec as gx
from graphexec.ir.infer import infer
from graphexec.ir.op import EAGER_HOOKS
from graphexec.ir.registry import registry
from graphexec.rewrite import optimize
from graphexec.rewrite.simplify.constant_folding import MAX_CONSTANT_ELEMENTS, constant_folding
from graphexec.rewrite.simplify.dce import dce

ops = gx.ops
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.5, 1e-38, 3e38]


def lines(fn):
    """A line for each node: ``y = multiply(x, c)``."""
    return [f"{n.name} = {n.op.name}({', '.join(fn.names[v] for v in n.inputs)})" for n in fn.nodes]


def folded(fn):
    return dce(constant_folding(fn))


def bits(array):
    return np.asarray(array).tobytes()


# -- constants


def test_constants_of_constants_are_computed_once(prepared, agrees, rng):
    g = gx.Graph("constants")
    x, a, b = g.input("x", (3,), "float64"), g.constant(np.arange(1.0, 4.0), "a"), g.constant(np.array([[4.0], [5.0]]), "b")
    c = ops.multiply(ops.tanh(a), b, name="c")
    g.output(ops.add(x, c, name="y"))
    fn = folded(prepared(g))
    assert lines(fn) == ["y = add(x, c)"]
    assert [(leaf.name, leaf.role, leaf.shape) for leaf in fn.leaves] == [("x", "input", (3,)), ("c", "constant", (2, 3))]
    assert bits(fn.leaf("c").value) == bits(ops.tanh(np.arange(1.0, 4.0)) * np.array([[4.0], [5.0]]))
    agrees(g, fn, {"x": rng.standard_normal(3)})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_folded_value_is_what_its_kernel_gives(rng, dtype):
    array = rng.uniform(0.5, 2.0, (4, 3)).astype(dtype)
    g = gx.Graph("values")
    c = g.constant(array)
    outputs = {n: getattr(ops, n)(c, name=n) for n in ("exp", "softmax", "sum", "negate", "sigmoid")}
    outputs["matmul"] = ops.matmul(c, ops.transpose(c), name="matmul")
    g.output(*outputs.values())
    quick, plain = gx.compile(g), gx.compile(g, optimize=False)
    found, expected = quick(), plain()
    assert len(quick.program.instructions) == 0
    assert len(plain.program.instructions) >= len(outputs)
    for name in outputs:
        operands = [array, array.T] if name == "matmul" else [array]
        assert bits(found[name]) == bits(registry.get(name)(*operands))
        assert_close(found[name], expected[name], name)


def test_a_large_constant_is_not_made_of_a_small_one(prepared):
    g = gx.Graph("large")
    column, row = g.constant(np.ones((MAX_CONSTANT_ELEMENTS, 1)), "column"), g.constant(np.ones((1, 2)), "row")
    g.output(ops.exp(column, name="fits"), ops.subtract(column, row, name="too_large"))
    assert lines(folded(prepared(g))) == ["too_large = subtract(column, row)"]


def test_views_of_constants_stay_and_are_seen_through(prepared, execute):
    """They cost nothing, and would be large where they repeat."""
    g = gx.Graph("views")
    c = g.constant(np.array([[1.0, 2.0]]), "c")
    g.output(ops.broadcast_to(c, shape=(5, 2), name="v"), ops.exp(ops.transpose(c), name="e"))
    fn = folded(prepared(g))
    assert lines(fn) == ["v = broadcast_to(c)"]
    found = execute(fn, {})
    np.testing.assert_array_equal(found["v"], np.broadcast_to([1.0, 2.0], (5, 2)))
    np.testing.assert_array_equal(found["e"], ops.exp(np.array([[1.0], [2.0]])))


def test_sizes_count_as_constants_where_they_are_numbers(prepared):
    def graph(rows):
        g = gx.Graph("sizes")
        g.output(ops.divide(1.0, ops.size(g.input("x", (rows, 4)), axis=0), name="share"))
        return g

    fn = folded(prepared(graph(8)))
    assert lines(fn) == []
    assert fn.leaf("share").value == 0.125
    assert lines(folded(prepared(graph("batch"))))[-1].startswith("share = divide")


def test_what_cannot_be_computed_fails_when_it_runs(prepared):
    g = gx.Graph("fails")
    g.output(ops.gather(g.constant([1.0, 2.0]), g.constant([5]), name="found"))
    assert len(folded(prepared(g)).nodes) == 1
    exe = gx.compile(g)
    with pytest.raises(gx.KernelError, match="node 'found'"):
        exe()


def test_updates_are_never_folded(prepared):
    """What an update writes over is made anew in every run."""
    g = gx.Graph("update")
    total, c = ops.copy(g.constant([1.0, 2.0], "start"), name="total"), g.constant([10.0, 10.0], "c")
    g.output(ops.sgd(total, ops.negate(c), lr=1.0, name="sum"))
    fn = folded(prepared(g))
    assert lines(fn)[0] == "total = copy(start)"
    assert len(fn.nodes) == 2
    exe = gx.compile(g)
    for _ in range(2):
        assert exe()["sum"].tolist() == [11.0, 12.0]


def test_a_constant_that_is_written_over_is_none(prepared):
    g = gx.Graph("counter")
    count, x = g.constant(np.ones(2), "count"), g.input("x", (2,), "float64")
    g.output(ops.sin(count), ops.multiply(x, count), ops.sgd(count, x))
    assert len(folded(prepared(g)).nodes) == 3


def test_a_kept_value_keeps_its_number(prepared):
    g = gx.Graph("kept")
    c = g.constant([1.0, 2.0])
    e, m = ops.exp(c, name="e"), ops.multiply(g.input("x", (2,), "float64"), 1.0, name="m")
    g.output(ops.sum(e + m))
    fn = prepared(g)
    keep = [fn.value_id("e"), fn.value_id("m")]
    found = dce(constant_folding(fn, keep), keep)
    assert found.leaf("e").value_id == keep[0]
    assert found.nodes[0].outputs == (keep[1],)


# -- nodes that change nothing


def constant(x, number):
    return x.graph.constant(np.asarray(number, x.dtype))


UNCHANGED = {
    "x * 1": lambda x: ops.multiply(x, constant(x, 1.0)),
    "1 * x": lambda x: ops.multiply(constant(x, [1.0]), x),
    "x / 1": lambda x: ops.divide(x, constant(x, 1.0)),
    "x - 0": lambda x: ops.subtract(x, constant(x, 0.0)),
    "x + -0.0": lambda x: ops.add(x, constant(x, -0.0)),
    "-0.0 + x": lambda x: ops.add(constant(x, np.full(len(SPECIAL), -0.0)), x),
    "--x": lambda x: ops.negate(ops.negate(x)),
    "x times a view of 1": lambda x: ops.multiply(x, ops.broadcast_to(constant(x, 1.0), shape=x.shape)),
    "x times what is 1": lambda x: ops.multiply(x, ops.exp(constant(x, 0.0))),
    "cast": lambda x: ops.cast(x, dtype=x.dtype),
    "copy": ops.copy,
    "reshape": lambda x: ops.reshape(x, shape=(-1,)),
    "reshaped and back": lambda x: ops.reshape(ops.reshape(x, shape=(3, 3)), shape=(9,)),
    "turned over twice": lambda x: x[::-1][::-1],
    "whole": lambda x: x[0:],
    "stop_gradient": ops.stop_gradient,
    "all of them": lambda x: ops.squeeze(ops.expand_dims(-ops.copy(-(x * 1.0)), axis=0), axis=0),
}


@pytest.fixture(scope="module")
def special():
    """``special(case, ...)``: an executable of one graph with a float32 and a float64 input, and its outputs by case."""

    def compiled(cases, **options):
        g = gx.Graph("special")
        for dtype in ("float32", "float64"):
            x = g.input(dtype, (len(SPECIAL),), dtype)
            for name, case in cases.items():
                g.output(ops.stack(x, case(x), axis=0, name=f"{dtype} {name}"))
        return gx.compile(g, **options)

    return compiled


@pytest.mark.parametrize("name", UNCHANGED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_changes_nothing_goes(prepared, name, dtype):
    g = gx.Graph("unchanged")
    g.output(ops.sin(UNCHANGED[name](g.input("x", (len(SPECIAL),), dtype)), name="y"))
    fn = folded(prepared(g))
    assert lines(fn) == ["y = sin(x)"]


def test_what_goes_changes_no_bit(special):
    """With kernels, which the interpreter's NumPy may differ from in the sign of a zero, and without."""
    arrays = {d: np.array(SPECIAL, d) for d in ("float32", "float64")}
    for skip in ((), ("constant_folding", "fuse")):
        for name, out in special(UNCHANGED, skip_passes=skip)(**arrays).items():
            assert bits(out[0]) == bits(out[1]), (name, skip)


CHANGED = {
    "x + 0.0": lambda x: ops.add(x, constant(x, 0.0)),
    "x - -0.0": lambda x: ops.subtract(x, constant(x, -0.0)),
    "x * 0": lambda x: ops.multiply(x, constant(x, 0.0)),
    "x * -1": lambda x: ops.multiply(x, constant(x, -1.0)),
    "1 / x": lambda x: ops.divide(constant(x, 1.0), x),
    "0 - x": lambda x: ops.subtract(constant(x, 0.0), x),
    "x * nearly 1": lambda x: ops.multiply(x, constant(x, [1.0] * (len(SPECIAL) - 1) + [2.0])),
    "-x": ops.negate,
    "once turned over": lambda x: x[::-1],
    "transposed in between": lambda x: ops.reshape(ops.transpose(ops.reshape(x, shape=(3, 3))), shape=(9,)),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_changes_something_stays(prepared, name):
    g = gx.Graph("changed")
    g.output(ops.sin(CHANGED[name](g.input("x", (len(SPECIAL),), "float64")), name="y"))
    fn = prepared(g)
    assert len(folded(fn).nodes) == len(fn.nodes)


def test_what_stays_gives_what_the_interpreter_gives(special):
    arrays = {d: np.array(SPECIAL, d) for d in ("float32", "float64")}
    found = special(CHANGED)(**arrays)
    for name, out in found.items():
        x, y = out
        with np.errstate(all="ignore"):
            expected = {"x + 0.0": x + 0, "x - -0.0": x + 0, "x * 0": x * 0}.get(name.partition(" ")[2])
        if expected is not None:
            np.testing.assert_array_equal(y, expected, err_msg=name)
            np.testing.assert_array_equal(np.signbit(y[3:5]), np.signbit(expected[3:5]), err_msg=name)


@pytest.mark.parametrize(
    "grown",
    [
        lambda g: ops.multiply(g.input("x", (), "float64"), g.constant(np.ones(3))),
        lambda g: ops.multiply(g.input("x", (3,), "float32"), g.constant(np.ones((), "float64"))),
        lambda g: ops.cast(g.input("x", (3,), "float32"), dtype="float64"),
        lambda g: ops.broadcast_to(g.input("x", (3,)), shape=(2, 3)),
    ],
    ids=["shape", "dtype", "cast", "broadcast"],
)
def test_what_changes_shape_or_type_stays(prepared, grown):
    g = gx.Graph("grown")
    g.output(ops.sin(grown(g)))
    assert len(folded(prepared(g)).nodes) == 2


def test_integers_have_one_zero(prepared):
    g = gx.Graph("integers")
    g.output(ops.square(ops.add(g.input("x", (3,), "int64"), g.constant(0)), name="y"))
    assert lines(folded(prepared(g))) == ["y = square(x)"]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_named_sizes(prepared, agrees, rng, rows):
    """What is whole for any size goes; what is cut at a number stays, however large that is."""
    g = gx.Graph("named")
    x, y = g.input("x", ("n", 4), "float64"), g.input("y", ("n", "m"), "float64")
    same = ops.swap_axes(ops.swap_axes(ops.reshape(x, shape=(-1, 4))))
    g.output(ops.sin(same, name="a"), ops.sin(x[: 10**10], name="b"), ops.sin(ops.transpose(y), name="c"))
    fn = folded(prepared(g))
    assert lines(fn) == ["a = sin(x)", "slice = slice(x)", "b = sin(slice)", "transpose = transpose(y)", "c = sin(transpose)"]
    arrays = {"x": rng.standard_normal((rows, 4)), "y": rng.standard_normal((rows, 3))}
    agrees(g, infer(fn, {"n": rows, "m": 3}), arrays)


def test_a_copy_taken_before_an_update_keeps_the_old_value():
    for options in ({}, {"skip_passes": "fuse"}, {"optimize": False}):
        g = gx.Graph("old")
        w, d = g.parameter("w", value=np.array([1.0, 2.0])), g.input("d", (2,), "float64")
        g.output(ops.copy(w, name="old"), ops.multiply(w, 1.0, name="times"), ops.sgd(w, d, lr=1.0, name="new"))
        found = gx.compile(g, **options)(d=[0.5, 0.5])
        assert found["old"].tolist() == found["times"].tolist() == [1.0, 2.0], options
        assert found["new"].tolist() == [0.5, 1.5]


def test_names_of_what_goes_are_kept():
    """Outputs, gradients and deltas by their names, though they are other values now."""
    g = gx.Graph("names")
    x, w = g.input("x", (2,), "float64"), g.parameter("w", value=np.array([3.0, 4.0]))
    same = ops.multiply(x, 1.0, name="same")
    product = ops.multiply(same, w, name="product")
    again = ops.negate(ops.negate(product), name="again")
    g.output(same, again, ops.sum(again, name="loss"), g.constant([7.0], "seven"))
    exe = gx.compile(g, loss="loss", wrt=["x", "same", "w"], keep_deltas=True)
    out = exe(x=[1.0, 2.0])
    assert {n: a.tolist() for n, a in out.items()} == {"same": [1.0, 2.0], "again": [3.0, 8.0], "loss": 11.0, "seven": [7.0]}
    loss, gradients = exe.gradients(x=[1.0, 2.0])
    assert loss == 11.0
    assert {n: a.tolist() for n, a in gradients.items()} == {"x": [3.0, 4.0], "same": [3.0, 4.0], "w": [1.0, 2.0]}
    assert exe.deltas["again"].tolist() == exe.deltas["product"].tolist() == [1.0, 1.0]
    assert exe.deltas["same"].tolist() == [3.0, 4.0]


def test_the_gradient_of_a_layer_reads_its_input_as_it_is(prepared):
    """(xᵀ δ)ᵀ is computed as δᵀ (xᵀ)ᵀ."""
    g = gx.Graph("layer")
    g.output(ops.sum(ops.linear(g.input("x", (5, 4)), g.parameter("w", (3, 4))), name="loss"))
    fn = prepared(g)
    fn = differentiated(fn, "w")
    fn = optimize(fn.with_nodes(fn.nodes, deltas={}))
    (product,) = (n for n in fn.nodes if n.outputs[0] == fn.gradients["w"])
    assert product.op.name == "matmul"
    assert fn.names[product.inputs[1]] == "x"


def test_an_op_called_on_arrays_gives_arrays_of_its_own():
    x = np.array([1.0, 2.0])
    for op, operands in (("copy", [x]), ("multiply", [x, np.ones(())]), ("cast", [x])):
        out = EAGER_HOOKS.compute(registry.get(op), operands, {"dtype": "float64"} if op == "cast" else {})
        assert out.tolist() == [1.0, 2.0]
        assert not np.shares_memory(out, x)
