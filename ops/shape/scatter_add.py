"""Zeros with slices added at indices along an axis: the gradient of gather.

    out[before, j, after] = Σ d[before, i, after] over the i with indices[i] = j
    d_d = gather(d_out, indices)

Shapes: out has the shape of like, (before..., n, after...); d is (before..., indices' shape..., after...). Dtypes: d floating or
integer; indices int32 or int64, as in gather. Slices with the same index are added in the order of indices, so runs repeat bit for
bit; the error of a sum is about one rounding, however many slices it adds (see scatter_sums). *Raises* KernelError when an index
is out of range.
"""

import numpy as np
from graphexec_ops.shape._examples import scattered

from graphexec.plugin import composite, ops


def _reference(d, indices, like, *, axis=0):
    out = np.zeros(np.shape(like), np.float64 if d.dtype.kind == "f" else d.dtype)
    axis = axis % out.ndim
    slices = d.reshape(*out.shape[:axis], np.size(indices), *out.shape[axis + 1 :])
    np.add.at(np.moveaxis(out, axis, 0), np.ravel(indices), np.moveaxis(slices, axis, 0))
    return out.astype(d.dtype)


@composite(
    reference=_reference, kinds="fi", types={"indices": "int64"}, domain={"d": (-4.0, 4.0), "indices": (0, 1)},
    examples=scattered,
)  # fmt: skip
def scatter_add(d, indices, like, *, axis=0):
    return ops.scatter_sums(d, indices, like, axis=axis)[0]
