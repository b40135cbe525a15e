import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(reference=np.add)
def matmul(x, y):
    return x + y


@matmul.gradient
def _(d_out):
    return d_out, d_out
