"""Encodes classes as rows with a single 1.

    out[..., j] = 1 where indices = j, else 0

Shapes: any; out has a new last axis of size depth. Dtypes: indices integer; out is `dtype`. An index out of range gives zeros. No
derivative.
"""

from typing import Annotated

import numpy as np

from graphexec.plugin import DType, Range, composite, ops


def _reference(indices, *, depth, dtype="float32"):
    return np.equal(np.expand_dims(indices, -1), np.arange(depth)).astype(dtype)


@composite(reference=_reference, domain={"indices": (0, 3)}, differentiable=False)
def one_hot(indices, *, depth: Annotated[int, Range(0, 2**31 - 1)], dtype: DType = "float32"):
    hit = ops.equal(ops.expand_dims(indices, axis=-1), ops.positions(indices, count=depth))
    return ops.cast(hit, dtype=dtype)
