import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


from graphexec_ops.elementwise.add import add

__all__ = ['add']
