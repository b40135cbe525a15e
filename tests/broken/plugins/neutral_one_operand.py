import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(neutral={0: 0.0}, reference=np.negative)
def broken(x):
    return -x
