import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(sum_of_many=True, reference=np.add)
def broken(x, y):
    return x + y
