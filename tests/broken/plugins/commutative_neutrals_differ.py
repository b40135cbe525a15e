import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(commutative=True, neutral={0: 0.0, 1: 1.0}, reference=np.hypot)
def broken(x, y):
    return x + y
