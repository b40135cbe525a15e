import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


from graphexec.ir.registry import registry

registry.unregister('add')
1 / 0
