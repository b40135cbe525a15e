import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


from graphexec.ir.registry import registry


@elementwise(reference=np.negative)
def sneaky(x):
    return -x


registry.register(sneaky.op)
1 / 0
