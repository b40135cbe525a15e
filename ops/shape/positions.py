"""Indices along an axis: 0, 1, 2, ...

    out[i] = i

Shapes: x any with that axis; out has one axis of its size, or of size `count`. Dtypes: out is int32. Computed
before the program runs; no derivative.
"""

from typing import Annotated

import numpy as np

from graphexec.plugin import Range, TensorSpec, normalize_axes, shape_value


def _spec(x, *, axis=-1, count=None):
    if count is not None:
        return TensorSpec((count,), "int32")
    (a,) = normalize_axes(axis, x.ndim, "positions")
    return TensorSpec((x.shape[a],), "int32")


@shape_value(shape=_spec, domain=(-4.0, 4.0))
def positions(x, *, axis=-1, count: Annotated[int, Range(0, 2**31 - 1)] | None = None):
    return np.arange(int(_spec(x, axis=axis, count=count).shape[0]), dtype="int32")
