import numpy as np
from graphexec.plugin import GemmTrait, composite, elementwise, kernel, ops, reduction, shape_value, view


@kernel("(m,k),(k,n)->(m,n)", gemm=GemmTrait(a=1, b=1), reference=np.matmul)
def broken(a, b, out):
    pass
