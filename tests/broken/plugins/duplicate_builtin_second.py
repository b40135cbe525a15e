import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(reference=np.negative)
def fine_and_new(x):
    return -x


@elementwise(reference=np.abs)
def abs(x):
    return x
