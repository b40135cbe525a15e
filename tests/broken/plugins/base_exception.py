import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


class Odd(BaseException):
    pass


raise Odd('odd')
