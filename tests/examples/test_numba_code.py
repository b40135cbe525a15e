"""The ops of `examples/numba_code`: right at the edges, with right gradients, and the simulation finds its numbers."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

import graphexec as gx
from graphexec.errors import KernelError, OpError, ShapeError

FOLDER = Path(__file__).parents[2] / "examples" / "numba_code"
PLUGINS = {"sort": ["sort"], "csr_matmul": ["csr_matmul"], "soft_dtw": ["soft_dtw_table", "soft_dtw"], "pendulum": ["pendulum"]}


@pytest.fixture(autouse=True)
def loaded(registry_kept):
    for file, names in PLUGINS.items():
        assert registry_kept.load_file(FOLDER / f"{file}.py") == names


def slopes(op, operands, wrt, weights, **attributes):
    """The result of an op, and the gradients of its sum weighted by `weights`."""
    g = gx.Graph("one_op")
    values = [g.input(f"i{k}", x.shape, x.dtype.name) for k, x in enumerate(operands)]
    results = getattr(gx.ops, op)(*values, **attributes)
    first = results[0] if isinstance(results, tuple) else results
    g.output(first, gx.ops.sum(first * weights, name="loss"))
    exe = gx.compile(g, loss="loss", wrt=[f"i{k}" for k in wrt])
    _, gradients = exe.gradients({f"i{k}": x for k, x in enumerate(operands)})
    return [gradients[f"i{k}"] for k in wrt]


@pytest.mark.parametrize("op", [name for names in PLUGINS.values() for name in names])
def test_gradients(op):
    assert gx.check_gradient(op).passed


@pytest.mark.slow
@pytest.mark.parametrize("op", [name for names in PLUGINS.values() for name in names])
def test_a_strict_reviewer_finds_nothing(op):
    report = gx.check_op(op)
    assert report.passed, report.findings
    assert not report.findings


def test_every_file_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} - {"fit_pendulum"} == set(PLUGINS)


# -- sort


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("row", [[], [3], [2, 1, 2, 1, 2], [5] * 9, [*range(20)], [*range(20, 0, -1)], [0, -7, 0, 7, -7]], ids=str)
def test_sort_is_that_of_numpy(row, dtype):
    x = np.array(row, dtype)
    out, order = gx.ops.sort(x)
    assert out.dtype == x.dtype
    np.testing.assert_array_equal(out, np.sort(x))
    np.testing.assert_array_equal(order, np.argsort(x, kind="stable"))


def test_sort_puts_nan_last_and_keeps_zeros_in_order():
    x = np.array([np.nan, 1.0, -np.inf, 0.0, np.nan, -0.0, np.inf, 0.0])
    out, order = gx.ops.sort(x)
    np.testing.assert_array_equal(out, np.sort(x))
    np.testing.assert_array_equal(order, [2, 3, 5, 7, 1, 6, 0, 4])


def test_sort_of_many_rows(rng):
    x = rng.integers(0, 50, (3, 4, 257)).astype("float32")
    out, order = gx.ops.sort(x)
    np.testing.assert_array_equal(out, np.sort(x, axis=-1))
    np.testing.assert_array_equal(order, np.argsort(x, axis=-1, kind="stable"))


def test_the_gradient_of_a_tie_goes_where_the_element_came_from():
    (d_x,) = slopes("sort", [np.array([2.0, 1.0, 2.0, 1.0])], [0], np.array([1.0, 10.0, 100.0, 1000.0]))
    np.testing.assert_array_equal(d_x, [100.0, 1.0, 1000.0, 10.0])


# -- csr_matmul


def sparse(rng, rows, columns, entries):
    """A random matrix in CSR form, with empty rows and duplicates, and the same in full."""
    where = np.sort(rng.integers(0, rows, entries))
    starts = np.searchsorted(where, np.arange(rows + 1))
    which, data = rng.integers(0, columns, entries), rng.normal(size=entries)
    dense = np.zeros((rows, columns))
    for r, c, value in zip(where, which, data, strict=True):
        dense[r, c] += value
    return data, which, starts, where, dense


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (40, 30, 25, 3), (4, 3, 50, 7), (3, 2, 0, 2), (2, 5, 9, 0)])
def test_csr_matmul_is_the_dense_product(sizes, rng):
    rows, columns, entries, n = sizes
    data, which, starts, where, dense = sparse(rng, rows, columns, entries)
    x, weights = rng.normal(size=(columns, n)), rng.normal(size=(rows, n))
    np.testing.assert_allclose(gx.ops.csr_matmul(data, which, starts, x), dense @ x, rtol=1e-12, atol=1e-12)
    d_data, d_x = slopes("csr_matmul", [data, which, starts, x], [0, 3], weights)
    np.testing.assert_allclose(d_x, dense.T @ weights, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(d_data, (weights @ x.T)[where, which], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("which", "starts", "message"), [
    ([0, 2], [0, 1, 2], "column"), ([0, -1], [0, 1, 2], "column"), ([0, 2**62], [0, 1, 2], "column"),
    ([0, 1], [0, 3, 2], "starts"), ([0, 1], [1, 1, 2], "starts"), ([0, 1], [0, 1, 1], "starts"),
    ([0, 1], [0, -(2**62), 2], "starts"),
])  # fmt: skip
def test_csr_matmul_refuses_what_is_no_matrix(which, starts, message):
    operands = [np.ones(2), np.array(which), np.array(starts), np.ones((2, 3))]
    with pytest.raises(KernelError, match=message):
        gx.ops.csr_matmul(*operands)
    with pytest.raises(KernelError, match=message):
        slopes("csr_matmul", operands, [0], np.ones((2, 3)))


@pytest.mark.parametrize("shapes", [[(2,), (3,), (3,), (2, 3)], [(2,), (2,), (0,), (2, 3)], [(2,), (2,), (3,), (2,)]])
def test_csr_matmul_refuses_shapes(shapes):
    data, which, starts, x = (np.zeros(shape) for shape in shapes)
    with pytest.raises(ShapeError, match="CSR"):
        gx.ops.csr_matmul(data, which.astype("int64"), starts.astype("int64"), x)


# -- soft_dtw


def costs_of_paths(cost):
    """The cost of every path from the first cell to the last one, by enumeration."""
    m, n = cost.shape
    paths = [((0, 0),)]
    while paths:
        path = paths.pop()
        i, j = path[-1]
        if (i, j) == (m - 1, n - 1):
            yield path, sum(cost[cell] for cell in path)
        paths += [(*path, (i + a, j + b)) for a, b in ((1, 1), (1, 0), (0, 1)) if i + a < m and j + b < n]


@pytest.mark.parametrize(("m", "n"), [*itertools.product((1, 2, 4), (1, 3))])
@pytest.mark.parametrize("gamma", [0.05, 1.0, 10.0])
def test_soft_dtw_is_the_soft_minimum_over_all_paths(m, n, gamma, rng):
    """The gradient by a cost is the probability that a path goes through its cell."""
    cost = rng.uniform(0, 3, (m, n))
    paths, totals = zip(*costs_of_paths(cost), strict=True)
    weights = np.exp(-(np.array(totals) - min(totals)) / gamma)
    expected = np.zeros((m, n))
    for path, weight in zip(paths, weights / weights.sum(), strict=True):
        for cell in path:
            expected[cell] += weight
    table = gx.ops.soft_dtw_table(cost, gamma=gamma)
    np.testing.assert_allclose(table[-1, -1], min(totals) - gamma * np.log(weights.sum()), rtol=1e-12)
    last = np.zeros((m, n))
    last[-1, -1] = 1.0
    (found,) = slopes("soft_dtw_table", [cost], [0], last, gamma=gamma)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)


def test_soft_dtw_becomes_dynamic_time_warping(rng):
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(4, 2))
    least = min(total for _, total in costs_of_paths(np.square(x[:, None] - y).sum(axis=-1)))
    np.testing.assert_allclose(gx.ops.soft_dtw(x, y, gamma=1e-6), least, rtol=1e-9)
    np.testing.assert_allclose(gx.ops.soft_dtw(x, np.repeat(x, 3, axis=0), gamma=1e-6), 0.0, atol=1e-4)  # stretched in time


def test_soft_dtw_with_a_band():
    """Cells of infinite cost take part in no path; their gradient is 0, not NaN."""
    cost = np.where(np.abs(np.subtract.outer(np.arange(6), np.arange(6))) > 1, np.inf, 0.5)
    last = np.zeros((6, 6))
    last[-1, -1] = 1.0
    (found,) = slopes("soft_dtw_table", [cost], [0], last)
    assert np.isfinite(gx.ops.soft_dtw_table(cost)[-1, -1])
    assert np.array_equal(found > 0, np.isfinite(cost))


def test_soft_dtw_refuses():
    with pytest.raises(ShapeError, match="two series"):
        gx.ops.soft_dtw(np.ones((0, 2)), np.ones((3, 2)))
    with pytest.raises(ShapeError, match="two series"):
        gx.ops.soft_dtw(np.ones((3, 2)), np.ones((3, 1)))
    with pytest.raises(OpError, match="gamma"):
        gx.ops.soft_dtw(np.ones((3, 2)), np.ones((3, 2)), gamma=0.0)


# -- the simulation


def test_the_integrator_has_order_four():
    def end(steps):
        angle, _ = gx.ops.pendulum(1.2, 0.3, 2.5, 0.2, np.linspace(0.0, 3.0, steps + 1))
        return angle[-1]

    exact = end(2_000)
    ratio = abs(end(40) - exact) / abs(end(80) - exact)
    assert 14 < ratio < 18


def test_a_pendulum_without_friction_keeps_its_energy():
    angle, velocity = gx.ops.pendulum(1.0, 0.0, 3.0, 0.0, np.linspace(0.0, 10.0, 1_001))
    energy = velocity**2 / 2 - 3.0 * np.cos(angle)
    np.testing.assert_allclose(energy, energy[0], rtol=1e-7)


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("example_fit_pendulum", FOLDER / "fit_pendulum.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_fit_finds_the_numbers(example):
    released, angles = example.measured(swings=4)
    exe = example.fit(angles, epochs=500)
    np.testing.assert_allclose(exe.parameters["stiffness"], example.STIFFNESS, atol=0.01)
    np.testing.assert_allclose(exe.parameters["damping"], example.DAMPING, atol=0.005)
    np.testing.assert_allclose(exe.parameters["released"], released, atol=0.02)
    found = np.concatenate([[exe.parameters["stiffness"], exe.parameters["damping"]], exe.parameters["released"]])
    assert np.sqrt(np.mean(np.square(example.residuals(found, angles)))) < 0.0105  # the noise, 0.01


def test_the_comparison_says_that_scipy_is_missing(example, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    example.compare(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 swings, 4 unknown numbers"
    assert lines[1].split()[0] == "exe.fit,"
    assert "SciPy is not installed" in lines[2]
    assert len(lines) == 3


def test_the_comparison_with_scipy(example, monkeypatch, capsys):
    pytest.importorskip("scipy")
    example.compare(2)
    losses = [line.partition("loss")[2].split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    np.testing.assert_allclose(np.array(losses, float), float(losses[0]), rtol=1e-4)
    assert len(losses) == 5
