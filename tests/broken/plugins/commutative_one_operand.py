import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(commutative=True, reference=np.negative)
def broken(x):
    return -x
