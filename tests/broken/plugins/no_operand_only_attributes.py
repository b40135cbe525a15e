import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(reference=lambda *, a=1: a)
def broken(*, a=1):
    return a
