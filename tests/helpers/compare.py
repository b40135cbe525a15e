"""Tolerances, one table for all tests, and comparisons with them."""

import numpy as np

TOLERANCES = {  # dtype: (relative, absolute against values of the order of 1)
    "float32": (2e-5, 4e-6),  # references round in float32 as well, and sums differ in their order
    "float64": (1e-12, 1e-13),
    "int32": (0, 0),
    "int64": (0, 0),
    "bool": (0, 0),
}


def assert_close(actual, expected, what="", scale=1.0):
    """Same shape, same dtype, and equal within the tolerance of that dtype. ``scale`` is that of the values summed."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, f"{what}: {actual.dtype}, not {expected.dtype}"
    assert actual.shape == expected.shape, f"{what}: {actual.shape}, not {expected.shape}"
    relative, absolute = TOLERANCES[actual.dtype.name]
    np.testing.assert_allclose(actual, expected, rtol=relative, atol=absolute * scale, err_msg=what, equal_nan=True)


def scale_of(*arrays):
    """The largest size among arrays, at least 1: rounding errors are in proportion to it."""
    sizes = [float(np.max(np.abs(a))) for a in arrays if a is not None and a.size and a.dtype.kind == "f"]
    return max([1.0, *(s for s in sizes if np.isfinite(s))])
