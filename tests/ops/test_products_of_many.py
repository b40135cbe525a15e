"""Sums of many products: matrix products of a long inner dimension, convolutions and average pooling, against float64."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.plugin import ops

BOUND = 1e-6
"""Error relative to the sum of the products' magnitudes: that of one slab, however many products there are."""

SLAB = 64
"""Products in a slab, whose roundings are the bound for any data."""

LONG = 8192
"""Most products in one chain of additions."""


def tenths(shape, dtype):
    """Each addition rounds in the same direction."""
    return np.full(shape, 0.1, dtype)


def large_and_small(shape, dtype):
    """A running sum loses what is small."""
    return np.resize(np.array([1e4, 1e-3, 7.7], dtype), shape)


def uniform(shape, dtype):
    return np.random.default_rng(1).random(shape).astype(dtype)


DATA = [tenths, large_and_small, uniform]
SHAPES = {  # m, n; C's shape, which decides how a product is computed
    "dot": (1, 1), "row": (1, 9), "long row": (1, 300), "column": (50, 1), "narrow": (60, 5), "few rows": (3, 20),
    "square": (20, 20),
}  # fmt: skip


def check(found, a, b, more=0.0, bound=BOUND):
    """``found`` is a @ b + more within the bound."""
    wide, magnitude = a.astype(np.float64) @ b.astype(np.float64) + more, np.abs(a) @ np.abs(b).astype(np.float64) + np.abs(more)
    error = np.max(np.abs(found - wide) / magnitude)
    assert error <= bound, error


def transposed(x, turn):
    return ops.swap_axes(x) if turn else x


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", DATA)
def test_matmul(shape, make):
    (m, n), k, dtype = SHAPES[shape], 100_003 if min(SHAPES[shape]) < 3 else 30_003, "float32"
    a, b = make((m, k), dtype), make((k, n), dtype)
    for turned_a, turned_b in ((0, 0), (1, 0), (0, 1), (1, 1)):
        left, right = np.ascontiguousarray(a.T) if turned_a else a, np.ascontiguousarray(b.T) if turned_b else b
        g = gx.Graph()
        x, y = g.input("a", left.shape, dtype), g.input("b", right.shape, dtype)
        g.output(ops.matmul(transposed(x, turned_a), transposed(y, turned_b), name="c"))
        check(gx.compile(g)(a=left, b=right)["c"], a, b)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 40), (8, 8)])
def test_one_and_many_small(m, n):
    """A running sum loses every small one; a slab those beside the large one."""
    a = np.full((m, 100_000), 2.0**-25, np.float32)
    a[:, 0] = 1
    b = np.ones((100_000, n), np.float32)
    check(ops.matmul(a, b), a, b, bound=SLAB * 2.0**-24)


def test_batched_and_followed_by_more():
    """The batch, an addition and an activation that run on each finished part of C."""
    a, b = tenths((3, 4, 50_000), "float32"), uniform((3, 50_000, 18), "float32")
    found = ops.matmul(a, b)
    for batch in range(3):
        check(found[batch], a[batch], b[batch])
    g = gx.Graph()
    x, y, z = g.input("a", a.shape[1:]), g.input("b", b.shape[1:]), g.input("z", (4, 18))
    g.output(ops.relu(ops.matmul(x, y) + z, name="c"))
    more = uniform((4, 18), "float32")
    check(gx.compile(g)(a=a[0], b=b[0], z=more)["c"], a[0], b[0], more)


def linear_gradients(rows, make, outputs, threads=1):
    g = gx.Graph()
    x, t = g.input("x", ("rows", 6)), g.input("t", ("rows", outputs))
    w, b = g.parameter("w", (outputs, 6), init="zeros"), g.parameter("b", (outputs,), init="zeros")
    g.output(ops.sum(ops.linear(x, w, b) * t, name="loss"))
    values = make((rows, 6), "float32"), make((rows, outputs), "float32")
    return *values, gx.compile(g, loss="loss", threads=threads).gradients(x=values[0], t=values[1])[1]


@pytest.mark.parametrize("outputs", [1, 5, 40])
@pytest.mark.parametrize("make", DATA)
def test_gradients_of_linear(make, outputs):
    x, t, found = linear_gradients(100_000, make, outputs)
    check(found["w"], t.T, x)
    check(found["b"], t.T, np.ones(len(x), np.float32))


@pytest.mark.exhaustive
def test_ten_million_rows():
    x, t, found = linear_gradients(10_000_000, tenths, 3)
    check(found["w"], t.T, x)
    a, b = tenths((1, 10_000_000), "float32"), tenths((10_000_000, 1), "float32")
    check(ops.matmul(a, b), a, b)


def conv_gradient(shape, out, groups=1, threads=1):
    """The gradient of weights of 3 x 3, whose elements are all alike, and their number of products."""
    batch, channels, height, width = shape
    g = gx.Graph()
    x, t = g.input("x", shape), g.input("t", (batch, out, height - 2, width - 2))
    w, b = g.parameter("w", (out, channels // groups, 3, 3), init="zeros"), g.parameter("b", (out,), init="zeros")
    g.output(ops.sum(ops.conv(x, w, b, groups=groups) * t, name="loss"))
    exe = gx.compile(g, loss="loss", threads=threads)
    _, found = exe.gradients(x=tenths(shape, "float32"), t=tenths((batch, out, height - 2, width - 2), "float32"))
    return found["w"], batch * (height - 2) * (width - 2)


@pytest.mark.parametrize(("shape", "out", "groups"), [
    ((4000, 1, 8, 8), 3, 1), ((1, 1, 300, 300), 20, 1), ((2, 4, 200, 200), 6, 2), ((90, 2, 40, 40), 70, 1),
])  # fmt: skip
def test_gradients_of_conv(shape, out, groups):
    results = [conv_gradient(shape, out, groups, threads)[0] for threads in (1, 2, 3)]
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    wanted = conv_gradient(shape, out, groups)[1] * float(np.float32(0.1)) ** 2
    np.testing.assert_allclose(results[0], wanted, rtol=1e-6)


def test_conv_of_many_channels():
    """A window of more than LONG elements."""
    x, w = uniform((2, 3000, 4, 5), "float32"), uniform((300, 3000, 3, 3), "float32")
    windows = np.stack([x[:, :, i : i + 3, j : j + 3].reshape(2, -1) for i in range(2) for j in range(3)], axis=-1)
    found = ops.conv(x, w)
    for n in range(2):
        check(found[n].reshape(300, 6), w.reshape(300, -1), windows[n])


@pytest.mark.parametrize(("size", "kernel"), [((300, 400), (300, 400)), ((120, 121), (119, 119)), ((1, 20_000), (1, 20_000))])
def test_average_pool(size, kernel):
    for make in (tenths, uniform):
        x = make((1, 2, *size), "float32")
        found = ops.average_pool(x, kernel=kernel, strides=1)
        for i, j in np.ndindex(*found.shape[2:]):
            seen = x[:, :, i : i + kernel[0], j : j + kernel[1]]
            np.testing.assert_allclose(found[:, :, i, j], seen.mean((2, 3), dtype=np.float64), rtol=1e-6)


@pytest.mark.exhaustive
def test_average_pool_of_four_million():
    x = tenths((1, 1, 2000, 2000), "float32")
    np.testing.assert_allclose(ops.average_pool(x, kernel=2000), float(x[0, 0, 0, 0]), rtol=1e-6)


def test_infinity_in_a_window():
    x = np.ones((1, 1, 100, 200), np.float32)
    x[0, 0, 3, 3] = np.inf
    assert ops.average_pool(x, kernel=(100, 200)) == np.inf
    x[0, 0, 90, 90] = -np.inf
    assert np.isnan(ops.average_pool(x, kernel=(100, 200)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (70, 1), (30, 40), (90, 5), (3, 64)])
def test_bits_do_not_depend_on_threads(shape):
    m, n, k = *shape, 20_000
    a, b = uniform((k, m), "float32"), uniform((k, n), "float32")
    found = []
    for threads in (1, 2, 3):
        g = gx.Graph()
        g.output(ops.matmul(ops.swap_axes(g.input("a", a.shape)), g.input("b", b.shape), name="c"))
        found.append(gx.compile(g, threads=threads)(a=a, b=b)["c"].tobytes())
    assert found[0] == found[1] == found[2]


def test_ordinary_products_are_one_chain():
    """Up to LONG products are added one after another, in the order of k."""
    a, b = uniform((7, LONG), "float32"), uniform((LONG, 20), "float32")
    chain = np.zeros((7, 20))
    for k in range(LONG):  # an fma rounds once: float64 holds the product and the sum nearly always exactly
        chain = (chain + a[:, k : k + 1].astype(np.float64) * b[k].astype(np.float64)).astype(np.float32).astype(np.float64)
    assert np.mean(ops.matmul(a, b) == chain) > 0.9
