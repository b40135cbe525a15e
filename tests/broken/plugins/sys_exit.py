import numpy as np
from graphexec.plugin import composite, elementwise, kernel, ops, reduction, shape_value, view


import sys

sys.exit(3)
