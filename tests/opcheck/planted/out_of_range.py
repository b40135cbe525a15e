"""Kernels that read or write outside their operands and outputs."""

import numpy as np

from graphexec.plugin import kernel


# fault: the last element has no successor
@kernel("(n)->(n)", reference=lambda x: np.diff(x, axis=-1, append=x[..., -1:]), domain=(-2.0, 2.0), differentiable=False)
def forward_steps(x, out):
    """out[i] = x[i + 1] - x[i], and 0 for the last element"""
    for i in range(x.size):
        out[i] = x[i + 1] - x[i]


# fault: the element before the first one is the last one, by Python's negative index
@kernel("(n)->(n)", reference=lambda x: np.diff(x, axis=-1, prepend=0), domain=(-2.0, 2.0), differentiable=False)
def backward_steps(x, out):
    """out[i] = x[i] - x[i - 1], with 0 before the first"""
    for i in range(x.size):
        out[i] = x[i] - x[i - 1]


# fault: the loop over y has the size of x
@kernel("(m),(n)->(m)", reference=lambda x, y: x + np.sum(y, axis=-1, keepdims=True), domain=(-2.0, 2.0), differentiable=False)
def plus_total(x, y, out):
    """out[i] = x[i] + Σ y"""
    total = 0.0
    for i in range(x.size):
        total += y[i]
    for i in range(x.size):
        out[i] = x[i] + total


# fault: it clears one element more than out has
@kernel("(n)->(n)", reference=lambda x: x * (x > 0), domain=(-2.0, 2.0), differentiable=False)
def only_positive(x, out):
    """out = x where x > 0, else 0; NaN stays"""
    for i in range(x.size + 1):
        out[i] = 0
    for i in range(x.size):
        if not x[i] <= 0:
            out[i] = x[i]


def _edges(x):
    n = x.shape[-1]
    return x[..., 0] + x[..., 1] + x[..., 2] if n > 2 else np.sum(x, axis=-1)


# fault: a row of fewer than three elements is read beyond its end
@kernel("(n)->()", reference=_edges, domain=(-2.0, 2.0), differentiable=False)
def first_three(x, out):
    """out = Σ of the first three elements, or of all if there are fewer"""
    out[()] = x[0] + x[1] + x[2]


# fault: the index is used without a check
@kernel(
    "(n),(k)->(k)", reference=lambda x, at: np.take_along_axis(np.broadcast_to(x, (*at.shape[:-1], x.shape[-1])), at, -1),
    types={"at": "int64"}, differentiable=False, errors={1: "an index is out of range"},
    examples=lambda rng, size: [(rng.normal(size=size + 1), rng.integers(0, size + 1, size))],
)  # fmt: skip
def looked_up(x, at, out):
    """out[k] = x[at[k]], for indices from 0 to n - 1; it raises KernelError for others"""
    for k in range(at.size):
        out[k] = x[at[k]]


# fault: the backward kernel reads a delta after the last one
@kernel("(n)->(n)", reference=lambda x: np.diff(x, axis=-1, prepend=0), domain=(-2.0, 2.0))
def increments(x, out):
    """out[0] = x[0],  out[i] = x[i] - x[i - 1];  d_x[i] = d_out[i] - d_out[i + 1]"""
    for i in range(x.size):
        out[i] = x[i] - (x[i - 1] if i > 0 else 0.0)


@increments.backward
def _(d_out, d_x):
    for i in range(d_x.size):
        d_x[i] = d_out[i] - d_out[i + 1]


# fault: rows and columns are exchanged, which a square matrix hides
@kernel("(m,n)->(m)", reference=lambda a: np.sum(a, axis=-1), domain=(-2.0, 2.0), differentiable=False)
def row_totals(a, out):
    """out[i] = Σⱼ a[i, j]"""
    for i in range(a.shape[0]):
        total = 0.0
        for j in range(a.shape[0]):
            total += a[i, j]
        out[i] = total


# fault: the last bin lies after the end, for x = 1
@kernel(
    shape=lambda x, *, bins=4: (bins,), reference=lambda x, *, bins=4: np.histogram(x, bins, (0, 1))[0].astype(x.dtype),
    domain=(0.0, 1.0), differentiable=False,
    examples=lambda rng, size: [(rng.uniform(0, 1, size),), (np.linspace(0, 1, size + 2),), (rng.uniform(0, 1, size), {"bins": 7})],
)  # fmt: skip
def histogram_of(x, out, *, bins=4):
    """out[k] = how many elements lie from k / bins to (k + 1) / bins; 1 belongs to the last bin"""
    out[:] = 0
    source = x.reshape(-1)
    for i in range(source.size):
        out[int(source[i] * bins)] += 1
