"""Encodes classes as rows with a single 1.

    out[..., j] = 1 where indices = j, else 0

Shapes: any; out has a new last axis of size depth. Dtypes: indices integer; out is `dtype`. An index out of range gives zeros. No
derivative.
"""

from typing import Annotated

import numpy as np
from graphexec_ops._examples import calls, integers

from graphexec.plugin import DType, Range, composite, ops


def _reference(indices, *, depth, dtype="float32"):
    return np.equal(np.expand_dims(indices, -1), np.arange(depth)).astype(dtype)


_examples = calls(
    integers((4,), low=0, high=3, depth=3), integers((2, 3), low=-1, high=5, kind="int32", depth=4),
    integers((), low=0, high=3, depth=3), integers((0,), low=0, high=3, depth=3),
    integers((4,), low=0, high=1, depth=1, dtype="float64"), integers((4,), low=0, high=3, depth=3, dtype="int64"),
    sized=lambda size: integers((3,), low=0, high=size, depth=size),
)  # fmt: skip


@composite(reference=_reference, domain={"indices": (0, 3)}, differentiable=False, examples=_examples)
def one_hot(indices, *, depth: Annotated[int, Range(0, 2**31 - 1)], dtype: DType = "float32"):
    hit = ops.equal(ops.expand_dims(indices, axis=-1), ops.positions(indices, count=depth))
    return ops.cast(hit, dtype=dtype)
