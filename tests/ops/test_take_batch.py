"""take_batch where rows lie anywhere: what is fetched ahead is what is read, and a number that is no row harms nothing."""

import numpy as np
import pytest

import graphexec as gx


@pytest.mark.parametrize("shape", [(500, 3), (500,), (50, 7, 100), (9, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_rows_are_numpys(shape, dtype, rng):
    data = (rng.standard_normal(shape) * 5).astype(dtype)
    order = rng.permutation(shape[0])
    batch = shape[0] // 3
    for cursor in (0, batch, shape[0] - batch):
        taken = gx.ops.take_batch(data, order, np.array(cursor), batch=batch)
        np.testing.assert_array_equal(taken, data[order[cursor : cursor + batch]], strict=True)


def test_the_order_of_later_batches_may_be_anything(rng):
    """What it names is asked for ahead of its batch, and refused with it."""
    data, order = rng.standard_normal((100, 40)), rng.permutation(100)
    order[16:] = np.resize([2**62, -(2**62), -1, 10**15, 100], 84)
    np.testing.assert_array_equal(gx.ops.take_batch(data, order, np.array(0), batch=16), data[order[:16]])
    with pytest.raises(gx.KernelError, match="reaches past the end of the data"):
        gx.ops.take_batch(data, order, np.array(1), batch=16)
