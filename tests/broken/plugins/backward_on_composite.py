import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@composite
def broken(x):
    return x * 2.0


@broken.backward
def _(d_out):
    return d_out
