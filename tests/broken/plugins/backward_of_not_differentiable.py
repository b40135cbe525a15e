import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(reference=np.negative, differentiable=False)
def broken(x):
    return -x


@broken.backward
def _(d_out):
    return -d_out
