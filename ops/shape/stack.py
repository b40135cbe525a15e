"""Joins values of one shape along a new axis.

    out[..., i, ...] = parts[i][..., ...]
    d_parts[i] = d_out[..., i, ...]

Shapes: out has a new axis at `axis`, as counted in out, whose size is the number of parts. Dtypes: any, all the same.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import composite, ops

_examples = calls(
    floats((2, 3), (2, 3)), floats((2, 3), (2, 3), (2, 3), axis=-1), floats((), ()), floats((0, 2), (0, 2), axis=1),
    floats((1,), axis=1), sized=lambda size: floats((size,), (size,), axis=-1),
)  # fmt: skip


@composite(reference=lambda *parts, axis=0: np.stack(parts, axis), domain=(-4.0, 4.0), examples=_examples)
def stack(*parts, axis=0):
    return ops.concat(*[ops.expand_dims(part, axis=axis) for part in parts], axis=axis)
