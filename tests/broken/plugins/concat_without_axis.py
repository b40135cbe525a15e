import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@kernel(shape=lambda *parts: parts[0].shape, concat=True, reference=np.add)
def broken(*parts):
    pass
