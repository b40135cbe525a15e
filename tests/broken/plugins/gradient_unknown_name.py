import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(reference=np.negative)
def broken(x):
    return -x


@broken.gradient
def _(d_out, z):
    return -d_out
