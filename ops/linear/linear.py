"""Linear layer: z = w x + b for each row of x.

    out = x wᵀ + b
    d_x = d_out w,  d_w = d_outᵀ x,  d_b = Σ d_out over the rows

Shapes: x (batch, in) or (..., in), w (out, in), b (out,) or none; out (batch, out) or (..., out). An x with one axis is a single
sample. A w with one axis, (in,), gives one number per sample, without an axis; b is then a scalar. Dtypes: float32, float64.
"""

from graphexec_ops._examples import calls, floats

from graphexec.plugin import ShapeError, composite, ops


def _reference(x, w, b=None):
    z = x @ w.T
    return z if b is None else z + b


def _differ(m, n):
    """Whether two sizes certainly differ; named ones are compared when they are bound."""
    return isinstance(m, int) and isinstance(n, int) and m != n


_examples = calls(
    floats((4, 3), (2, 3), (2,)), floats((4, 3), (2, 3)), floats((3,), (2, 3), (2,)), floats((3,), (2, 3)),
    floats((1, 1), (1, 1), (1,)), floats((2, 5, 3), (4, 3), (4,)), floats((0, 3), (2, 3), (2,)),
    sized=lambda size: floats((size, 3), (2, 3), (2,)),
)  # fmt: skip


@composite(reference=_reference, domain=(-2.0, 2.0), examples=_examples)
def linear(x, w, b=None):
    fits = w.ndim in (1, 2) and x.ndim > 0 and not _differ(x.shape[-1], w.shape[-1])
    if not fits or (b is not None and (b.ndim != w.ndim - 1 or any(map(_differ, b.shape, w.shape)))):
        raise ShapeError("operands do not fit as a linear layer", todo="x is (..., in), w (out, in), b (out,).")
    rows = ops.expand_dims(x, axis=0) if x.ndim == 1 and w.ndim == 2 else x
    z = ops.matmul(rows, ops.transpose(w))
    if b is not None:
        z = ops.add(z, b)
    return z if rows is x else ops.squeeze(z, axis=0)
