import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(neutral={2: 0.0}, reference=np.subtract)
def broken(x, y):
    return x - y
