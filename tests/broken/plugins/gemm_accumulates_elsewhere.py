import numpy as np
from graphexec.plugin import GemmTrait, composite, elementwise, kernel, ops, reduction, shape_value, view


@kernel("(n),(m,k),(k,n)->(m,n)", gemm=GemmTrait(1, 2, 0), updates=("c",), reference=np.matmul, differentiable=False)
def broken(c, a, b, out):
    pass
