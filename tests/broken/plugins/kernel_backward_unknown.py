import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@kernel("(n)->()", reference=np.sum)
def broken(x, out):
    out[()] = x.sum()


@broken.backward
def _(d_out, q, d_x):
    d_x[:] = d_out
