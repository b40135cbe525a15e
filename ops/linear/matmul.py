"""Matrix product of the last two axes, batched over the leading ones.

    out = a @ b
    d_a = d_out @ bᵀ
    d_b = aᵀ @ d_out

Shapes: (..., m, k) and (..., k, n) give (..., m, n); leading axes broadcast. A factor with one axis is a row, or a column, and its
axis of size 1 is not in the product: (k,) and (k,) give a scalar, as in NumPy. Dtypes: float32, float64.
Source: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008, for the kernel.
"""

import numpy as np
from graphexec_ops._examples import calls, floats

from graphexec.plugin import GEMM_SCRATCH, GemmTrait, gemm, kernel, ops

_examples = calls(
    floats((3,), (3,)), floats((3,), (3, 2)), floats((2, 3), (3,)), floats((3,), (4, 3, 2)), floats((4, 2, 3), (3,)),
    floats((2, 3), (3, 4)), floats((1, 5), (5, 1)), floats((4, 2, 3), (4, 3, 2)), floats((2, 1, 2, 3), (3, 3, 2)),
    floats((2, 3), (5, 3, 4)), floats((0, 3), (3, 2)), floats((2, 0), (0, 3)), floats((2, 3), (3, 0)),
    floats((0, 2, 3), (0, 3, 2)), floats((17, 9), (9, 33)), sized=lambda size: floats((5, size), (size, 3)),
)  # fmt: skip


@kernel(
    "(m?,k),(k,n?)->(m?,n?)", reference=np.matmul, domain=(-2.0, 2.0), onnx="MatMul", strided=("a", "b"), parallel=True,
    scratch=GEMM_SCRATCH, gemm=GemmTrait(), examples=_examples,
)  # fmt: skip
def matmul(a, b, out, scratch, piece, pieces):
    return gemm(a, b, out, scratch, piece, pieces)


@matmul.gradient
def _(d_out, a, b):
    if a.spec.size <= b.spec.size:
        return d_out @ ops.swap_axes(b), ops.swap_axes(a) @ d_out
    d_b = ops.swap_axes(a) @ d_out  # first: often nothing else reads the larger operand afterwards, so d_a can reuse its buffer
    return d_out @ ops.swap_axes(b), d_b
