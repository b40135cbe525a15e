"""Products read their factors where they lie, whatever lies between the elements."""

from itertools import product

import numpy as np
import pytest

import graphexec as gx

STEPS = (1, 2, -1, -3)


def factor(graph, name, rows, columns, step, rng):
    """A matrix of the graph, the array to give for it, and the matrix as it is seen."""
    if step == 1 or 1 not in (rows, columns):
        array = rng.standard_normal((rows, abs(step) * columns))
        return graph.input(name, array.shape, "float64")[:, ::step], array, array[:, ::step]
    array = rng.standard_normal(rows * columns * abs(step))
    seen = graph.input(name, array.shape, "float64")[::step]
    axis = 0 if rows == 1 else 1
    return gx.ops.expand_dims(seen, axis=axis), array, np.expand_dims(array[::step], axis)


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("k", [1, pytest.param(3, marks=pytest.mark.exhaustive), 100])
def test_rows_columns_and_matrices_with_gaps(optimize, k, rng):
    """A vector with gaps, as a factor with an axis of size 1, was read as if it had none."""
    for (m, n), first, second in product([(1, 1), (1, 9), (9, 1), (2, 2), (40, 1), (1, 40)], STEPS, STEPS):
        graph = gx.Graph("product")
        a, given_a, seen_a = factor(graph, "a", m, k, first, rng)
        b, given_b, seen_b = factor(graph, "b", k, n, second, rng)
        loss = gx.ops.sum(gx.ops.square(gx.ops.matmul(a, b, name="y")), name="loss")
        graph.output("y", loss)
        exe = gx.compile(graph, loss="loss", wrt=["a", "b"], optimize=optimize)
        case = f"({m}, {k}, {n}), steps {first} and {second}"
        expected = seen_a @ seen_b
        np.testing.assert_allclose(exe(a=given_a, b=given_b)["y"], expected, rtol=1e-12, atol=1e-12, err_msg=case)
        _, found = exe.gradients(a=given_a, b=given_b)
        for name, given, seen, step, delta in (
            ("a", given_a, seen_a, first, 2 * expected @ seen_b.T),
            ("b", given_b, seen_b, second, 2 * seen_a.T @ expected),
        ):
            spread = np.zeros_like(given)
            spread[..., ::step] = delta.reshape(seen.shape if given.ndim == 2 else -1)
            np.testing.assert_allclose(found[name], spread, rtol=1e-10, atol=1e-10, err_msg=f"{case}: d_{name}")
