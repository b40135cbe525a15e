"""Matrix product added to a value in place, for sums of products.

    acc = acc + a @ b

Shapes: acc (m, n), a (m, k), b (k, n), leading axes of all three equal. Dtypes: float32, float64. The pass
`gemm_accumulate` replaces a product and an addition by it if nothing else reads either.
"""

import numpy as np

from graphexec.plugin import GEMM_SCRATCH, GemmTrait, gemm, kernel


@kernel(
    "(m,n),(m,k),(k,n)->(m,n)", reference=lambda acc, a, b: acc + np.matmul(a, b), domain=(-2.0, 2.0), updates=("acc",),
    strided=("a", "b"), parallel=True, scratch=GEMM_SCRATCH, differentiable=False, internal=True,
    gemm=GemmTrait(a=1, b=2, accumulate=0),
)  # fmt: skip
def matmul_add(acc, a, b, out, scratch, piece, pieces):
    return gemm(a, b, out, scratch, piece, pieces, True)
