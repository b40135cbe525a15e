import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


class Odd(Exception):
    def __str__(self):
        raise ValueError


raise Odd
