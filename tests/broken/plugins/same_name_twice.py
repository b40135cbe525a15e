import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


def make(factor):
    @elementwise(reference=lambda x: x * factor)
    def broken(x):
        return x * 2.0

    return broken


a = make(1)
b = make(2)
