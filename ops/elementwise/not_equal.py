"""Whether operands differ, element by element.

    out = x != y

Shapes: broadcast, as in NumPy. Dtypes: any, of one kind; out is bool. NaN differs from everything, even itself. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.not_equal, domain=(-4.0, 4.0), exact=True, kinds="fib", types={"out": "bool"}, differentiable=False)
def not_equal(x, y):
    return x != y
