"""Convolution and pooling where the table of ops does not look: against plain loops, in tiles, on threads, twice differentiated."""

import itertools

import numpy as np
import pytest

import graphexec as gx
from graphexec.codegen import kernels
from graphexec.errors import ShapeError
from graphexec.plugin import kernel

ops = gx.ops


def loops(x, w, b, strides, padding, dilations, groups):
    """Convolution written out, element by element."""
    n = x.ndim - 2
    before, after = padding[:n], padding[n:]
    outs = [(x.shape[2 + a] + before[a] + after[a] - dilations[a] * (w.shape[2 + a] - 1) - 1) // strides[a] + 1 for a in range(n)]
    out = np.zeros((x.shape[0], w.shape[0], *outs))
    per, each = w.shape[1], w.shape[0] // groups
    for image, o, *z in itertools.product(*map(range, out.shape)):
        total = b[o]
        for c, *k in itertools.product(*map(range, w.shape[1:])):
            at = [z[a] * strides[a] + k[a] * dilations[a] - before[a] for a in range(n)]
            if all(0 <= at[a] < x.shape[2 + a] for a in range(n)):
                total += w[(o, c, *k)] * x[(image, o // each * per + c, *at)]
        out[(image, o, *z)] = total
    return out


CASES = [  # x, w, strides, padding (before, after), dilations, groups
    ((2, 3, 7, 6), (4, 3, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ((2, 4, 9, 11), (6, 2, 3, 2), (2, 2), (1, 0, 2, 1), (1, 1), 2),
    ((1, 3, 12, 20), (3, 1, 3, 3), (1, 2), (2, 2, 2, 2), (2, 2), 3),
    ((1, 2, 10, 13), (2, 2, 2, 3), (3, 3), (0, 1, 0, 4), (1, 3), 1),
    ((3, 2, 40), (3, 2, 5), (1,), (2, 2), (1,), 1),
    ((2, 2, 40), (3, 2, 4), (2,), (7, 0), (3,), 1),
    ((1, 2, 4, 5, 6), (2, 2, 2, 3, 2), (1, 2, 1), (1, 0, 1, 0, 1, 0), (1, 1, 2), 1),
    ((2, 1, 3, 3), (2, 1, 1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    ((1, 1, 2, 2), (1, 1, 2, 2), (1, 1), (5, 0, 0, 5), (1, 1), 1),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("x", "w", "strides", "padding", "dilations", "groups"), CASES)
def test_conv_is_the_loops(x, w, strides, padding, dilations, groups, dtype, rng):
    x, w, b = (rng.uniform(-2, 2, s).astype(dtype) for s in (x, w, w[:1]))
    found = ops.conv(x, w, b, strides=strides, padding=padding, dilations=dilations, groups=groups)
    expected = loops(x, w, b, strides, padding, dilations, groups)
    np.testing.assert_allclose(found, expected, atol=5e-5 if dtype == "float32" else 1e-12)


def test_conv_in_tiles_and_blocks(rng):
    """More elements of the window than a block of patches has rows, more windows than it has columns."""
    x, w = rng.uniform(-1, 1, (2, 72, 25, 31)), rng.uniform(-1, 1, (3, 72, 3, 3))
    seen = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3))
    np.testing.assert_allclose(ops.conv(x, w, padding=1), np.einsum("ncyxij,ocij->noyx", seen, w), atol=1e-11)
    d = rng.uniform(-1, 1, (2, 3, 25, 31))
    where = {"strides": (1, 1, 1), "padding": (0, 1, 1, 0, 1, 1), "dilations": (1, 1, 1), "groups": 1}
    deep = [a[:, :, None] for a in (d, x, w)]
    d_w = ops.correlate_weights(deep[0], deep[1], deep[2][None], **where)
    np.testing.assert_allclose(d_w.sum(axis=0)[:, :, 0], np.einsum("ncyxij,noyx->ocij", seen, d), atol=1e-11)
    d_x = ops.correlate_input(deep[0], deep[2][None], deep[1], **where)
    assert np.vdot(d_x, deep[1]) == pytest.approx(np.vdot(ops.conv(x, w, padding=1), d), rel=1e-11)  # the transpose of conv


def test_padding_by_name(rng):
    x, w = rng.uniform(-1, 1, (2, 3, 9, 10)), rng.uniform(-1, 1, (4, 3, 4, 3))
    np.testing.assert_array_equal(ops.conv(x, w, padding="valid"), ops.conv(x, w))
    np.testing.assert_array_equal(ops.conv(x, w, padding="same"), ops.conv(x, w, padding=(1, 1, 2, 1)))
    assert ops.conv(x, w, padding="same", strides=(2, 3)).shape == (2, 4, 5, 4)  # sizes / strides, rounded up
    np.testing.assert_array_equal(ops.conv(x, w, padding=[2, 1]), ops.conv(x, w, padding=(2, 1, 2, 1)))


@pytest.mark.parametrize(("kernel", "strides", "padding"), [(2, None, 0), (3, 2, 1), ((2, 3), (3, 1), (1, 2)), (3, 1, "same")])
def test_pooling_is_the_loops(kernel, strides, padding, rng):
    x = rng.uniform(-2, 2, (2, 3, 9, 14))
    k = (kernel,) * 2 if isinstance(kernel, int) else kernel
    s = k if strides is None else (strides,) * 2 if isinstance(strides, int) else strides
    p = (1, 1) if padding == "same" else (padding,) * 2 if isinstance(padding, int) else padding
    where = {"kernel": kernel, "strides": strides, "padding": padding}
    top, mean = ops.max_pool(x, **where), ops.average_pool(x, **where)
    inside = ops.average_pool(x, count_include_pad=False, **where)
    for n, c, i, j in np.ndindex(*top.shape):
        rows, columns = (slice(max(z * s[a] - p[a], 0), z * s[a] - p[a] + k[a]) for a, z in enumerate((i, j)))
        window = x[n, c, rows, columns]
        assert top[n, c, i, j] == window.max()
        assert mean[n, c, i, j] == pytest.approx(window.sum() / np.prod(k), abs=1e-12)
        assert inside[n, c, i, j] == pytest.approx(window.mean(), abs=1e-12)


def test_max_pool_of_ties_and_what_is_not_finite():
    x = np.array([[[1.0, 1.0, 2.0, np.nan, -np.inf, -np.inf, np.inf, 3.0]]])
    g = gx.Graph("ties")
    v = g.parameter("x", value=x)
    out = ops.max_pool(v, kernel=2, name="out")
    g.output(ops.sum(out, name="loss"))
    np.testing.assert_array_equal(ops.max_pool(x, kernel=2), [[[1.0, np.nan, -np.inf, np.inf]]])
    _, gradients = gx.compile(g, loss="loss").gradients()
    np.testing.assert_array_equal(gradients["x"], [[[1, 0, 0, 1, 1, 0, 1, 0]]])  # the first of equals; NaN takes its delta


def test_conv_of_what_is_not_finite():
    """Where a window reaches over the edge, an infinite delta or weight meets no element that is not there."""
    w = np.array([[[1.0, np.inf, 1.0]]])
    d = ops.correlate_input(np.ones((1, 1, 1, 1, 2)), w.reshape(1, 1, 1, 1, 1, 3), np.zeros((1, 1, 1, 1, 4)), strides=(1, 1, 1),
                            padding=(0,) * 6, dilations=(1, 1, 1), groups=1)  # fmt: skip
    np.testing.assert_array_equal(d.ravel(), [1, np.inf, np.inf, 1])
    x = np.ones((1, 1, 5))
    x[0, 0, 2] = np.nan
    np.testing.assert_array_equal(np.isnan(ops.conv(x, np.ones((1, 1, 2))))[0, 0], [False, True, True, False])


def network(batch, threads):
    g = gx.Graph("net")
    x, label = g.input("x", (batch, 3, 13, 12)), g.input("label", (batch,), "int64")
    h = x
    for k, (i, o) in enumerate(((3, 8), (8, 16))):
        w, b = g.parameter(f"w{k}", (o, i, 3, 3), init="normal(std=0.2)"), g.parameter(f"b{k}", (o,))
        h = ops.max_pool(ops.relu(ops.conv(h, w, b, padding=1)), kernel=2)
    v = g.parameter("v", (16 * 3 * 3, 5), init="normal(std=0.1)")
    loss = ops.softmax_cross_entropy(ops.flatten(h) @ v, label, name="loss")
    g.output(h, loss)
    return gx.compile(g, loss="loss", optimizer=gx.SGD(lr=0.1), seed=1, threads=threads)


@pytest.mark.parametrize("rows", [1, 9])
def test_bits_do_not_depend_on_the_number_of_threads(rows, rng):
    data = {"x": rng.normal(size=(rows, 3, 13, 12)).astype("float32"), "label": rng.integers(0, 5, rows)}
    found = []
    for threads in (1, 2, 3, 8):
        exe = network("batch", threads)
        steps = [exe.step(**data) for _ in range(3)]
        found.append([np.array(steps), *exe.parameters.values()])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_named_batch_stays_a_name(rng):
    g = gx.Graph("named")
    x, w = g.input("x", ("batch", 2, 8, "width")), g.parameter("w", value=rng.normal(size=(3, 2, 3, 3)).astype("float32"))
    y = ops.max_pool(ops.conv(x, w, padding="same"), kernel=(2, 1))
    z = ops.average_pool(ops.pad(y, padding=(0, 0, 0, 1, 0, 0, 0, 1)), kernel=1)
    g.output(y, ops.sum(z, name="loss"))
    assert y.shape == ("batch", 3, 4, "width")
    exe = gx.compile(g, loss="loss", wrt=["w"])
    sizes = []
    for rows, width in ((2, 5), (3, 9)):
        data = rng.normal(size=(rows, 2, 8, width)).astype("float32")
        loss, gradients = exe.gradients(x=data)
        expected = ops.max_pool(ops.conv(data, exe.parameters["w"], padding=1), kernel=(2, 1))
        assert loss == pytest.approx(float(expected.sum()), rel=1e-4)
        assert gradients["w"].shape == (3, 2, 3, 3)
        sizes.append(len(kernels.compiled))
    assert sizes[0] == sizes[1]


def test_other_numbers_compile_nothing(rng):
    x, w = rng.uniform(-1, 1, (2, 4, 9, 8)), rng.uniform(-1, 1, (4, 2, 3, 2))
    ops.conv(x, w, groups=2)
    before = len(kernels.compiled)
    ops.conv(x, w, groups=2, strides=(2, 1), padding=(0, 1, 2, 1), dilations=2)
    ops.conv(x[:, :2], w, padding=1)
    assert len(kernels.compiled) == before


def plus(x, y):
    return x + y


def plus_twice(x, y):
    return plus(plus(x, y), y) + 0.0


@kernel("(n),(n)->(n)", reference=lambda x, y, *, steps: x + 2 * y + sum(steps), domain=(-2.0, 2.0), differentiable=False)
def with_helpers(x, y, out, *, steps=(1, 2)):
    for i in range(x.size):
        out[i] = plus_twice(x[i], y[i]) + steps[0] + steps[1]


def test_a_kernel_may_call_functions_of_its_file(rng):
    """And helpers of helpers; tuples of integers are data."""
    x, y = rng.uniform(-1, 1, (2, 7)), rng.uniform(-1, 1, 7)
    for steps in ((1, 2), (-3, 5)):
        np.testing.assert_allclose(with_helpers(x, y, steps=steps), x + 2 * y + sum(steps), atol=1e-14)
    assert sum("with_helpers" in name for name in kernels.compiled) <= 1


@pytest.mark.parametrize(("strides", "groups"), [(1, 1), (2, 2)])
def test_second_derivative(strides, groups, rng):
    """The gradient's own gradient, through conv, average and largest elements, against central differences."""
    g = gx.Graph("twice")
    x = g.parameter("x", value=rng.permutation(2 * 2 * 6 * 5).reshape(2, 2, 6, 5) / 40.0)
    w = g.parameter("w", value=rng.uniform(-1, 1, (4, 2 // groups, 3, 2)))
    b = g.parameter("b", value=rng.uniform(-1, 1, 4))
    h = ops.conv(x, w, b, strides=strides, groups=groups, padding=1)
    total = ops.sum(h * h * h) + ops.sum(ops.average_pool(ops.square(h), kernel=2, padding=1, count_include_pad=False))
    g.output(ops.add(total, ops.sum(ops.square(ops.max_pool(x, kernel=2))), name="loss"))
    gx.check_gradient(g, derivative=2)


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: ops.conv(x, np.ones((4, 3, 9, 3))), ["larger than the padded input", "window 9"]),
    (lambda x: ops.conv(x, np.ones((4, 2, 3, 3))), ["weights are for 2 channels", "(out, 3, kernel...)"]),
    (lambda x: ops.conv(x, np.ones((4, 3, 3, 3)), np.ones(3)), ["one bias for each output channel", "(4,)"]),
    (lambda x: ops.conv(x, np.ones((4, 3, 3, 3)), groups=2), ["equal groups", "groups must divide"]),
    (lambda x: ops.conv(x, np.ones((4, 3, 3))), ["differ in rank"]),
    (lambda x: ops.conv(x[0], np.ones((4, 3, 3))), ["weights are for 3 channels"]),
    (lambda x: ops.conv(x[0, 0], np.ones((4, 3))), ["has 2 axes"]),
    (lambda x: ops.conv(x, np.ones((4, 3, 3, 3)), strides=0), ["'strides' cannot be 0", "from 1"]),
    (lambda x: ops.conv(x, np.ones((4, 3, 3, 3)), padding="full"), ["'padding' cannot be 'full'", "'same'"]),
    (lambda x: ops.conv(x, np.ones((4, 3, 3, 3)), padding=(1, 2, 3)), ["padding is (1, 2, 3)", "each spatial axis"]),
    (lambda x: ops.max_pool(x, kernel=7), ["larger than the padded input"]),
    (lambda x: ops.max_pool(x, kernel=2, padding=2), ["nothing but padding"]),
    (lambda x: ops.average_pool(x, kernel=(2, 2, 2, 2)), ["x has 4 axes", "4 spatial axes"]),
    (lambda x: ops.pad(x, padding=(1, 1)), ["padding is (1, 1)", "8 integers"]),
])  # fmt: skip
def test_errors_say_what_does_not_fit(call, words):
    with pytest.raises(gx.GraphExecError) as caught:
        call(np.ones((2, 3, 6, 6)))
    for word in words:
        assert word in str(caught.value)


def test_same_padding_with_strides_needs_sizes():
    g = gx.Graph("same")
    x = g.input("x", ("batch", 1, "width"))
    with pytest.raises(ShapeError, match="depends on the size of axis width"):
        ops.conv(x, np.ones((1, 1, 3), "float32"), padding="same", strides=2)


def test_in_a_graph_file(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(
        "graphexec: 1\nname: net\ninputs: {x: 'float32[batch, 1, 4, 4]'}\n"
        "parameters: {w: {type: 'float32[2, 1, 3, 3]', init: ones}}\n"
        "nodes: {h: 'conv(x, w, padding=[1, 1], strides=2)', y: 'max_pool(h, kernel=2)'}\noutputs: [y]\n"
    )
    found = gx.compile(gx.load(path))(x=np.ones((3, 1, 4, 4), "float32"))["y"]
    np.testing.assert_array_equal(found, np.full((3, 2, 1, 1), 9, "float32"))
