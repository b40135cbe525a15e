import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(involution=True, reference=np.subtract)
def broken(x, y):
    return x - y
